"""A new version comes in under load: every process is replaced, nobody loses a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

import httpx
import pytest

from tests.fixtures.following import answered
from tests.fixtures.processes import Process, StartOne
from tests.fixtures.service import StartService
from tests.fixtures.sse import Reader, listen
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

WORDS = " ".join(str(number) for number in range(60))
SAID = [("gated", "First then the rest")] * 6 + [("slow 60", WORDS)] * 4
"""Some wait in the middle for as long as it takes, some are streaming all the time."""
LONG_LEASE = 60.0
"""Whoever waited for a lease to run out would never be done in time."""
HANDED_OVER_SECONDS = 15.0


class Follower:
    """Follows one conversation; wherever it is cut off it goes on, at the next API."""

    def __init__(self, apis: list[Process], conversation_id: str, headers: dict[str, str]) -> None:
        self.reader = Reader()
        self.reasons: list[str] = []
        self._apis = apis
        self.conversation_id = conversation_id
        self._headers = headers

    async def until(self, enough: Callable[[Reader], bool]) -> None:
        for visit in count(int(self.conversation_id[-4:], 16)):
            if enough(self.reader):
                return
            url = self._apis[visit % len(self._apis)].url
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                await listen(
                    *(url, self.conversation_id, self._headers),
                    reader=self.reader,
                    until=lambda r: enough(r) or self._was_closed(r),
                )

    def _was_closed(self, reader: Reader) -> bool:
        """Takes note, and waits for the end of the stream."""
        if reader.events[-1:] and reader.events[-1].name == "stream.closing":
            self.reasons.append(reader.events.pop().data["reason"])
        return False


async def test_every_process_is_replaced_and_nobody_loses_a_word(
    start_service: StartService, api_process: StartOne
) -> None:
    patient = {"parley_lease_seconds": LONG_LEASE, "parley_drain_seconds": 0.2}
    service = await start_service(workers=2, worker=patient)
    old_apis = [service.api, await api_process()]
    apis, old_workers = list(old_apis), list(service.workers)
    followers = [Follower(apis, await service.conversation(), service.person.headers) for _ in SAID]
    async with asyncio.TaskGroup() as reading:
        for one, (how, what) in zip(followers, SAID, strict=True):
            reading.create_task(one.until(answered(what)))
            await service.say(one.conversation_id, f"{how} {what}")
        await until(lambda: all(one.reader.text for one in followers))
        _, new_api = await asyncio.gather(service.another_worker(**patient), api_process())
        apis.append(new_api)
        for old in old_workers:
            assert await old.stop() == 0
            left = partial(claimed_again, followers, turns_of(old))
            await until(left, seconds=HANDED_OVER_SECONDS)
        for old in old_apis:
            apis.remove(old)
            assert await old.stop() == 0
        service.stand_in.open_gate()
    attempts = [turn["attempt"] for one in followers for turn in one.reader.turns.values()]
    assert max(attempts) > 1, "nothing was handed over"
    reasons = [reason for one in followers for reason in one.reasons]
    assert set(reasons) == {"shutdown"}


def turns_of(worker: Process) -> dict[str, int]:
    """What it has claimed, with the attempt, as its log says."""
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    return {x["turn_id"]: x["attempt"] for x in lines if x["event"] == "turn_claimed"}


def claimed_again(followers: list[Follower], held: dict[str, int]) -> bool:
    """Everybody has been told that what the worker left goes on as a new attempt, or has ended."""
    turns = {name: turn for one in followers for name, turn in one.reader.turns.items()}
    return all(
        turns[name]["attempt"] > attempt or turns[name]["status"] == "completed"
        for name, attempt in held.items()
    )
