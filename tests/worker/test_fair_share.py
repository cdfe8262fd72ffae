"""Whoever rings for two hundred conversations waits behind themselves and not before others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from arq.constants import job_key_prefix

from shared.ids import new_id
from shared.jobs import HEARD, RUNG, Jobs
from shared.redis import QUEUE, Redis, end
from shared.settings import Settings
from tests.fixtures.waiting import until
from worker.queue import ring_worker

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

pytestmark = pytest.mark.anyio

PLACES = 2


@asynccontextmanager
async def working(
    settings: Settings, redis: Redis, run: Callable[[UUID], Awaitable[None]]
) -> AsyncGenerator[None]:
    here = settings.model_copy(update={"parley_max_turns": PLACES})
    worker = ring_worker(here, redis, run)
    task = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        await end(task)
        await asyncio.gather(*worker.tasks.values())
        await worker.forget()


async def rung(jobs: Jobs, owner: str, count: int) -> list[UUID]:
    found = [new_id() for _ in range(count)]
    for conversation_id in found:
        assert await jobs.ring(conversation_id, owner)
    return found


async def test_who_comes_late_is_next_and_then_they_take_turns(
    settings: Settings, redis: Redis, jobs: Jobs
) -> None:
    await rung(jobs, "alice", 200)
    heard: list[UUID] = []
    bobs: list[UUID] = []

    async def run(conversation_id: UUID) -> None:
        heard.append(conversation_id)
        if len(heard) == 50:
            bobs.extend(await rung(jobs, "bob", 10))

    async with working(settings, redis, run):
        await until(lambda: len(heard) == 210, seconds=30)
    # Behind those that were being taken while Bob rang; and then the two are heard by turns.
    first = heard.index(bobs[0])
    assert first < 50 + PLACES + 1
    of_bob = sum(one in bobs for one in heard[first : first + 10])
    assert 5 - PLACES <= of_bob <= 5 + PLACES


async def test_two_who_ring_as_often_are_heard_by_turns(
    settings: Settings, redis: Redis, jobs: Jobs
) -> None:
    alices = await rung(jobs, "alice", 20)
    bobs = await rung(jobs, "bob", 20)
    heard: list[UUID] = []

    async def run(conversation_id: UUID) -> None:
        heard.append(conversation_id)

    async with working(settings, redis, run):
        await until(lambda: len(heard) == 40)
    for count in range(2, 40):
        of_alice = sum(one in alices for one in heard[:count])
        assert abs(2 * of_alice - count) <= 2 * PLACES
    assert set(heard) == {*alices, *bobs}


async def test_who_was_away_has_saved_nothing_up(redis: Redis, jobs: Jobs) -> None:
    await rung(jobs, "alice", 1)
    await redis.set(HEARD, 5000)
    await rung(jobs, "alice", 1)
    await rung(jobs, "bob", 1)
    places = sorted(score for _, score in await redis.zrange(QUEUE, 0, -1, withscores=True))
    assert places == [1, 5001, 5001]
    assert 0 < await redis.ttl(RUNG + "alice") <= 3600


async def test_an_older_ring_whose_score_is_a_time_does_not_move_the_places(
    settings: Settings, redis: Redis, jobs: Jobs
) -> None:
    """As arq itself would write it, or as a job comes back whose worker died."""
    heard: list[UUID] = []

    async def run(conversation_id: UUID) -> None:
        heard.append(conversation_id)

    conversation_id = new_id()
    await redis.enqueue_job("ring", str(conversation_id), _queue_name=QUEUE)
    async with working(settings, redis, run):
        await until(lambda: heard == [conversation_id])
    assert await redis.get(HEARD) is None
    assert await rung(jobs, "alice", 1)
    assert [score for _, score in await redis.zrange(QUEUE, 0, -1, withscores=True)] == [1]


async def test_what_was_done_is_forgotten(settings: Settings, redis: Redis, jobs: Jobs) -> None:
    """Also what is done while the worker asks for more."""
    rings = await rung(jobs, "alice", 60)
    heard: list[UUID] = []

    async def run(conversation_id: UUID) -> None:
        for _ in range(1 + len(heard) % 3):
            await redis.ping()
        heard.append(conversation_id)

    async with working(settings, redis, run):
        await until(lambda: len(heard) == len(rings))
    assert await redis.zcard(QUEUE) == 0
    assert await redis.keys(f"{job_key_prefix}*") == []
