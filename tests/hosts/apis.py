"""What happens when an API's host is cut off: from the clients, from Postgres, from Redis."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

from cli.verify.witness import CHATS
from tests.hosts.roamer import Roamer
from tests.hosts.service import CLIENT
from tests.hosts.stage import Stage

SAID = "One two three four five six seven eight nine ten, and so on to the end of a long answer."
PING_SECONDS = 15.0
SLOW = f"slow 400 {SAID}"
SILENCE_SECONDS = 1.5
"""Of a viewer whose text has just been running: then it goes to the other API."""
SEEN_SECONDS = 20.0
REFUSED_SECONDS = 5.5
"""Two for a free connection, then three for a new one."""
AT_ONCE = 30
"""Twice as many as an API has connections."""
BACK_SECONDS = 3.0
TAKING_SECONDS = 5.0
"""PARLEY_STREAM_SEND_TIMEOUT_SECONDS here; the default would make for long waits."""
GONE_SECONDS = PING_SECONDS + TAKING_SECONDS + 2
"""A stream says something every fifteen seconds; from then on nobody takes it."""


async def cut_from_clients(stage: Stage) -> None:
    """In mid-stream, without a word: packets vanish. Viewers go on at the other API."""
    one, other = stage.service.urls()
    async with stage.talking(stage.chatter(16)):
        async with stage.guest(other, one, other, silence=SILENCE_SECONDS) as guest:
            await guest.say(SLOW)
            await stage.until("text runs", lambda: len(guest.text) > 10, SEEN_SECONDS)
            stage.network.cut("api-1", [CLIENT])
            cut = time.monotonic()
            sentence = "it goes on at the other"
            await stage.until(sentence, lambda: _first_at(guest, other) is not None, SEEN_SECONDS)
            began, heard = _first_at(guest, other) or (cut, cut + SEEN_SECONDS)
            stage.took("resumed on the other API, once asked", heard - began, 1.0)
            stage.note("… since the cut, by a viewer patient for 1.5 s", f"{heard - cut:.2f} s")
            await stage.until("the turn ends", guest.turn_ended, SEEN_SECONDS)
        api, client = stage.network.hosts["api-1"], stage.network.hosts[CLIENT]
        await stage.until("it forgets them", lambda: not api.connected_to(client), 60)
        took = time.monotonic() - cut
        stage.took("it lets go of its clients, since the cut", took, GONE_SECONDS)


def _first_at(guest: Roamer, url: str) -> tuple[float, float] | None:
    """When it came to this API for the first time, and first heard something there."""
    visits = [visit for visit in guest.visits if visit.url == url]
    heard = [visit.first for visit in visits if visit.first is not None]
    return (visits[0].began, heard[0]) if heard else None


@dataclass(frozen=True)
class Asked:
    status: int
    seconds: float


async def cut_from_postgres(stage: Stage) -> None:
    """It says 503, in time, and recovers; the other one goes on."""
    one, other = stage.service.urls()
    async with stage.talking(stage.chatter(8)):
        await _ask_all(stage, one)  # so that it has connections to lose
        stage.network.cut("api-1", ["postgres"])
        answers = await _ask_all(stage, one)
        stage.expect(f"all say 503: {answers}", {each.status for each in answers} == {503})
        slowest = max(each.seconds for each in answers)
        stage.took(
            f"503 from an API without Postgres, slowest of {AT_ONCE}", slowest, REFUSED_SECONDS
        )
        again = await _ask_all(stage, one)
        stage.expect(f"all say 503 again: {again}", {each.status for each in again} == {503})
        stage.took("… and of as many more", max(each.seconds for each in again), REFUSED_SECONDS)
        stage.expect("it says that it isn't ready", not await stage.ready(one))
        stage.expect("the other is ready", await stage.ready(other))
        stage.network.heal()
        healed = time.monotonic()
        await stage.until("it serves again", lambda: _serves(stage, one), 30)
        stage.took("until it serves again", time.monotonic() - healed, BACK_SECONDS)


async def cut_from_redis(stage: Stage) -> None:
    """Its messages are taken, and its streams still deliver: from the rows."""
    one, other = stage.service.urls()
    stage.network.cut("api-1", ["redis"])
    for doing in ("at once", "again"):
        async with stage.guest(one, one, silence=20) as guest:
            began = time.monotonic()
            await guest.say(f"say {SAID}")
            stage.took(f"a message taken without Redis, {doing}", time.monotonic() - began, 2.0)
            await stage.until("the viewer sees the end", guest.saw_the_end, SEEN_SECONDS)
            stage.took("… and its answer told by the stream", time.monotonic() - began, 5.0)
            stage.expect("by one connection", len(guest.visits) == 1)
    await stage.heal()
    stage.expect("the other is ready", await stage.ready(other))


async def _ask_all(stage: Stage, url: str) -> list[Asked]:
    return await asyncio.gather(*(_ask(stage, url) for _ in range(AT_ONCE)))


async def _ask(stage: Stage, url: str) -> Asked:
    """A page of conversations; status 0 is no answer in a long time."""
    headers = {"Authorization": f"Bearer {stage.service.token('somebody')}"}
    began = time.monotonic()
    try:
        status = (await stage.http.get(url + CHATS, headers=headers, timeout=30)).status_code
    except httpx.HTTPError:
        status = 0
    return Asked(status, round(time.monotonic() - began, 2))


async def _serves(stage: Stage, url: str) -> bool:
    return all(each.status == 200 for each in await _ask_all(stage, url))
