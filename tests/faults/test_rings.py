"""A ring may be lost, doubled or poisoned; the turn runs, and runs once."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from arq.constants import job_key_prefix
from pydantic import SecretStr

from cli.embedded import Service as Server
from shared.connection import EVERYONE
from shared.db import Database
from shared.ids import new_id
from shared.jobs import BELL, Jobs
from shared.redis import QUEUE, Redis, end
from shared.settings import Settings
from shared.store.turns import active_turns
from tests.fixtures.following import answered
from tests.fixtures.parts import connected
from tests.fixtures.service import Service, StartService
from tests.fixtures.waiting import until
from worker.queue import RingWorker, ring_worker

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

pytestmark = pytest.mark.anyio

Make = Callable[[Path], bytes]


@asynccontextmanager
async def taking_rings(settings: Settings, redis: Redis) -> AsyncGenerator[list[UUID]]:
    """What the queue's end of a worker was rung for."""
    async with worker_of(settings, redis) as (_, heard):
        yield heard


@asynccontextmanager
async def worker_of(
    settings: Settings, redis: Redis
) -> AsyncGenerator[tuple[RingWorker, list[UUID]]]:
    """The queue's end of a worker that only notes what it was rung for."""
    heard: list[UUID] = []

    async def note(conversation_id: UUID) -> None:
        heard.append(conversation_id)

    worker = ring_worker(settings, redis, note)
    working = asyncio.create_task(worker.async_run())
    try:
        yield worker, heard
        assert not working.done(), "the worker ended"
    finally:
        await end(working)


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


POISON: dict[str, Make] = {
    "a pickle": lambda path: pickle.dumps(Bomb(path)),
    "a pickled job": lambda path: pickle.dumps(
        {"t": 1, "f": "ring", "a": (Bomb(path),), "k": {}, "et": 1}
    ),
    "no JSON": lambda _: b"\xff",
    "no job": lambda _: b"[]",
    "a job of the wrong types": lambda _: b'{"t":"x","f":"ring","a":1,"k":null,"et":"y"}',
    "an unknown function": lambda _: b'{"t":1,"f":"os.system","a":[],"k":{},"et":1}',
}


@pytest.mark.parametrize("poison", POISON)
async def test_what_somebody_plants_in_the_queue_neither_runs_nor_stops_the_worker(
    settings: Settings, redis: Redis, jobs: Jobs, tmp_path: Path, poison: str
) -> None:
    marker = tmp_path / "executed"
    await redis.set(f"{job_key_prefix}planted", POISON[poison](marker))
    await redis.zadd(QUEUE, {"planted": 1})
    conversation_id = new_id()

    async def was_taken() -> bool:
        return await redis.zscore(QUEUE, "planted") is None

    async with taking_rings(settings, redis) as heard:
        await until(was_taken)
        await jobs.ring(conversation_id)
        await until(lambda: heard == [conversation_id])
    assert not marker.exists()


async def test_a_worker_keeps_all_its_places_however_often_redis_fails_it(
    settings: Settings, own_valkey: Server
) -> None:
    """The worker asks Redis for jobs again and again; what it asks is refused here."""
    here = {"redis_url": SecretStr(own_valkey.url), "parley_max_turns": 1}
    settings = settings.model_copy(update=here)
    conversation_id = new_id()
    async with connected(settings) as redis:

        async def refused_again() -> bool:
            return int((await redis.info("stats"))["acl_access_denied_cmd"]) > 2

        await Jobs(redis).ring(conversation_id)
        await redis.execute_command("ACL SETUSER", "default", "-zrange")
        async with taking_rings(settings, redis) as heard:
            await until(refused_again)
            assert not heard
            await redis.execute_command("ACL SETUSER", "default", "+zrange")
            await until(lambda: heard == [conversation_id])


async def test_a_worker_that_drains_leaves_the_bell_to_others(
    settings: Settings, own_valkey: Server
) -> None:
    here = {"redis_url": SecretStr(own_valkey.url)}
    async with connected(settings.model_copy(update=here)) as redis:

        async def somebody_waits() -> bool:
            return int((await redis.info("clients"))["blocked_clients"]) == 1

        async def can_be_heard() -> bool:
            return await redis.exists(BELL) == 1

        async with worker_of(settings, redis) as (worker, heard):
            await until(somebody_waits)
            worker.allow_pick_jobs = False
            await Jobs(redis).ring(new_id())
            await until(can_be_heard)
            assert not heard


async def test_however_often_somebody_rings_a_turn_runs_once(service: Service) -> None:
    conversation_id = await service.conversation()
    async with asyncio.timeout(30), connected(service.api.settings) as redis:

        async def ring() -> None:
            await asyncio.gather(*(Jobs(redis).ring(UUID(conversation_id)) for _ in range(20)))

        await ring()
        await service.say(conversation_id, "gated First then the rest")
        await ring()
        reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
        await ring()
        service.stand_in.open_gate()
        await service.listen(conversation_id, reader, until=answered("First then the rest"))
        await ring()
    await service.say(conversation_id, "say after", wait=20)
    await service.listen(conversation_id, reader, until=answered("First then the rest", "after"))
    assert {turn["attempt"] for turn in reader.turns.values()} == {1}


async def test_a_message_whose_api_died_before_it_could_ring_is_answered(
    start_service: StartService, own_valkey: Server, db: Database
) -> None:
    """Its Redis is frozen, so that it dies between the answer and the ring."""
    service = await start_service(workers=0, api={"redis_url": SecretStr(own_valkey.url)})
    conversation_id = UUID(await service.conversation())
    os.kill(own_valkey.pid, signal.SIGSTOP)
    assert (await service.say(str(conversation_id), "say hello"))["turn"]["status"] == "queued"
    await service.api.kill()

    async def states() -> list[str]:
        async with db.snapshot(EVERYONE) as tx:
            return [turn.status for turn in await active_turns(tx, conversation_id)]

    assert await until(states) == ["queued"]
    await service.another_worker()

    async def ended() -> bool:
        return not await states()

    await until(ended)
    log = service.workers[0].log
    await until(lambda: "turn_ended" in log.read_text())
    assert "turn_swept" in log.read_text()
