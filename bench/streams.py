"""What an event stream costs, and an event to each of its viewers: `python -m bench.streams`.

One API process. First 5,000 idle streams, each of another conversation, of 250 owners: memory by
the process' own pages (USS) before and with them. Then 2,000 viewers of one conversation: pieces
of live text through the publisher, messages and renames through the API, each told once all have
heard the one before; every viewer must have heard all. The number of streams of an owner is
limited, and so counted in Redis, as in life. Targets: at most 45 KB (of 1024 bytes) a stream; all
held; no further connection to Redis; at most 0.06 ms of CPU for a piece of text to one viewer.
"""

# redis-py leaves the answers of its commands untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from uuid import UUID

import httpx
import psutil
import uvloop
from sqlalchemy import text

from bench.figures import place_of_a_stack
from bench.processes import Meter, cpu_seconds
from bench.results import Figure, report
from bench.viewers import AT_ONCE, Audience, Viewer
from cli.verify.stack import Stack
from shared.connection import EVERYONE
from shared.ids import new_id
from shared.publisher import LiveText, Publisher
from shared.redis import Redis, connect_redis

TITLE = "What an event stream costs"
KB = 1024
TARGET_KB, TARGET_STREAMS, TARGET_MS = 45, 5000, 0.06
SETTINGS = {"PARLEY_LIMIT_STREAMS": "100000"}
FILES_BESIDE = 500
PING_SECONDS = 15
PINGS_WAITED_FOR = 2
CALM = 0.3
"""Of one core: what the API takes once there is nothing left to do for anybody who came."""
CALM_SECONDS = 60
PATIENCE_SECONDS = 180
LIVE_TEXT = "a piece of live text"
PIECE = "about four words of it "

CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title)
    SELECT gen_random_uuid(), 'owner-' || n % :owners, 'bench' FROM generate_series(1, :count) n
    RETURNING id, user_id
"""

Tell = Callable[[int], Awaitable[object]]


@asynccontextmanager
async def service() -> AsyncGenerator[Stack]:
    with place_of_a_stack() as place:
        stack = Stack(place, workers=0, apis=1, settings=SETTINGS)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.abandon()


async def idle(streams: int, owners: int) -> tuple[list[Figure], float]:
    """The figures, and the share of the machine that others took."""
    async with service() as stack:
        process = psutil.Process(stack.apis[0].life.child.pid)
        wanted = await conversations(stack, streams, owners)
        audience = Audience(stack.urls()[0])
        await audience.come(wanted[:AT_ONCE])
        await calm(process.pid)
        audience.leave()
        await calm(process.pid)
        connections = await redis_connections(stack)
        before: int = process.memory_full_info().uss
        with Meter(pids(stack)) as opening:
            await audience.come(wanted)
            await calm(process.pid)
        with Meter(pids(stack)) as waiting:
            for _ in range(PINGS_WAITED_FOR):
                audience.forget_pings()
                await asyncio.sleep(PING_SECONDS + 1)
        grown: int = process.memory_full_info().uss - before
        held, connections_then = audience.pinged, await redis_connections(stack)
        audience.leave()
    said = f"{streams:,} streams"
    figures = [
        Figure("memory of the API, an idle stream", grown / streams / KB, "KB", limit=TARGET_KB),
        Figure("streams held, each pinged", held, "", limit=TARGET_STREAMS, at_least=True),
        Figure(f"Redis connections, {said}/none", connections_then, "", connections, limit=1),
        Figure("CPU of the API to open one", ms(opening.spent["api"]) / streams, "ms"),
        Figure("CPU of Postgres to open one", ms(opening.spent["postgres"]) / streams, "ms"),
        Figure(f"CPU of the API, {said} idle", percent(waiting, "api"), "% of a core"),
    ]
    return figures, max(opening.foreign, waiting.foreign)


class Speaker:
    """Tells the viewers of one conversation something, as a worker and its owner would."""

    def __init__(self, conversation_id: UUID, owner: httpx.AsyncClient, redis: Redis) -> None:
        self._id = conversation_id
        self._path = f"/api/chat/conversations/{conversation_id}"
        self._owner = owner
        self._publisher = Publisher(redis)
        self._turn_id, self._message_id = new_id(), new_id()

    async def piece(self, number: int) -> None:
        live = LiveText(self._turn_id, self._message_id, 1, 0, PIECE * (number + 1))
        await self._publisher.delta(self._id, live, len(PIECE) * number)

    async def message(self, number: int) -> None:
        said = {"content": f"message {number}"}
        (await self._owner.post(f"{self._path}/messages", json=said)).raise_for_status()

    async def rename(self, number: int) -> None:
        title = {"title": f"title {number}"}
        (await self._owner.patch(self._path, json=title)).raise_for_status()


async def fan_out(viewers: int, pieces: int, changes: int) -> tuple[list[Figure], float]:
    figures: list[Figure] = []
    foreign: list[float] = []
    async with service() as stack, AsyncExitStack() as opened:
        [(chat, token)] = await conversations(stack, 1, 1)
        url, headers = stack.urls()[0], {"Authorization": f"Bearer {token}"}
        owner = httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_SECONDS)
        redis = await opened.enter_async_context(connect_redis(stack.settings()))
        speaker = Speaker(chat, await opened.enter_async_context(owner), redis)
        await speaker.rename(-1)  # or the first message would
        audience = Audience(url)
        await audience.come([(chat, token)] * viewers)
        await calm(stack.apis[0].life.child.pid)
        for what, tell, times, events in (
            (LIVE_TEXT, speaker.piece, pieces, 1),
            ("a message (2 events)", speaker.message, changes, 2),
            ("a new title", speaker.rename, changes, 1),
        ):
            meter, seconds = await told_to_all(stack, audience, tell, times, events)
            figures += figures_of(what, meter, seconds, viewers)
            foreign.append(meter.foreign)
        check(audience.viewers, pieces, changes)
        audience.leave()
    return figures, max(foreign)


async def told_to_all(
    stack: Stack, audience: Audience, tell: Tell, times: int, events: int
) -> tuple[Meter, list[float]]:
    """Also the seconds, each time, until the last viewer had what was told."""
    before = audience.events // len(audience.viewers)
    seconds: list[float] = []
    with Meter(pids(stack)) as meter:
        for number in range(times):
            began = time.perf_counter()
            await tell(number)
            heard = before + (number + 1) * events
            await audience.heard_by_all(heard, seconds=PATIENCE_SECONDS)
            seconds.append(time.perf_counter() - began)
    return meter, seconds


def figures_of(what: str, meter: Meter, seconds: list[float], viewers: int) -> list[Figure]:
    told = len(seconds) * viewers
    api, postgres = ms(meter.spent["api"]) / told, ms(meter.spent["postgres"]) / told
    limit = TARGET_MS if what == LIVE_TEXT else None
    return [
        Figure(f"{what}: CPU of the API a viewer", api, "ms", limit=limit),
        Figure(f"{what}: CPU of Postgres a viewer", postgres, "ms"),
        Figure(f"{what}: until {viewers:,} have it, median", statistics.median(seconds), "s"),
        Figure(f"{what}: until {viewers:,} have it, most", max(seconds), "s"),
    ]


def check(viewers: list[Viewer], pieces: int, changes: int) -> None:
    """Everybody heard everything once, in its order."""
    told = viewers[0].events()
    names = ["message.delta"] * pieces
    names += ["message.created", "turn.updated"] * changes
    names += ["conversation.updated"] * changes
    assert [event.name for event in told] == names
    assert "".join(event.data.get("text", "") for event in told) == PIECE * pieces
    messages = [event.data["message"]["content"] for event in told if "message" in event.data]
    assert messages == [f"message {number}" for number in range(changes)]
    titles = [event.data["conversation"] for event in told if "conversation" in event.data]
    assert [title["title"] for title in titles] == [f"title {number}" for number in range(changes)]
    assert all(viewer.open and viewer.events() == told for viewer in viewers)


async def conversations(stack: Stack, count: int, owners: int) -> list[tuple[UUID, str]]:
    """So many, with the tokens of their owners."""
    db = stack.database()
    async with db.transaction(EVERYONE) as tx:
        rows = await tx.all(text(CONVERSATIONS), {"owners": owners, "count": count})
    await db.close()
    tokens = {owner: stack.token(owner) for owner in {row.user_id for row in rows}}
    return [(row.id, tokens[row.user_id]) for row in rows]


async def redis_connections(stack: Stack) -> int:
    """Of others than ourselves."""
    redis = connect_redis(stack.settings())
    found = cast("dict[str, Any]", await redis.info("clients"))
    await redis.aclose(close_connection_pool=True)
    return int(found["connected_clients"]) - 1


async def calm(pid: int) -> None:
    """Until a process has done what there was to do."""
    async with asyncio.timeout(CALM_SECONDS):
        spent = 1.0
        while spent > CALM:
            before = cpu_seconds(pid)
            await asyncio.sleep(1)
            spent = cpu_seconds(pid) - before


def pids(stack: Stack) -> dict[str, int]:
    parts = {"api": stack.apis[0], "postgres": stack.postgres, "redis": stack.redis}
    return {name: part.life.child.pid for name, part in parts.items()}


def percent(meter: Meter, name: str) -> float:
    return meter.spent[name] / meter.seconds * 100


def ms(seconds: float) -> float:
    return seconds * 1000


def allow_files(count: int) -> None:
    """Here, and so for what we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        raise SystemExit(f"{count:,} open files are needed, and {most:,} allowed: raise ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, 1024), most))


async def measure(
    *, streams: int, owners: int, viewers: int, pieces: int, changes: int
) -> tuple[list[Figure], float]:
    of_streams, foreign = await idle(streams, owners)
    of_events, foreign_then = await fan_out(viewers, pieces, changes)
    return of_streams + of_events, max(foreign, foreign_then)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=TARGET_STREAMS)
    parser.add_argument("--owners", type=int, default=250)
    parser.add_argument("--viewers", type=int, default=2000, help="of one conversation")
    parser.add_argument("--pieces", type=int, default=50, help="of live text")
    parser.add_argument("--changes", type=int, default=5, help="messages, and as many renames")
    asked = parser.parse_args()
    allow_files(max(asked.streams, asked.viewers) + FILES_BESIDE)
    figures, foreign = uvloop.run(measure(**vars(asked)))
    report("streams", TITLE, figures, foreign=foreign)


if __name__ == "__main__":
    main()
