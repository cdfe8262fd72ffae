"""arq's worker, made to survive: woken by a ring instead of polling, unharmed when Redis is away.

arq is frozen, so its internals can be relied on. What is overridden: `main` (arq ends at the first
error of Redis and polls blindly), the count of running jobs (where Redis fails at the wrong moment
arq forgets to count down, until it takes no job any more), how jobs are taken (arq asks Redis five
times for each, and reads only the head of the queue, which running jobs would fill) and how one is
run (arq counts tries and keeps results, where the rows know better what is left to do). The order
of the queue is that of `shared/jobs.py`: whatever is taken tells the others how far we are.
"""

# arq leaves its job context and redis-py its replies untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import structlog
from arq.constants import job_key_prefix
from arq.jobs import deserialize_job_raw
from arq.utils import timestamp_ms
from arq.worker import Worker, func

from shared.jobs import BELL, HEARD, MOST_PLACES, RING
from shared.metrics import REDIS_RECONNECTS
from shared.redis import QUEUE, REDIS_ERRORS, Redis, deserialize_job, serialize_job
from shared.settings import Settings

log = structlog.get_logger()

BELL_SECONDS = 1
AWAY_SECONDS = 0.5
GRACE_SECONDS = 60

# What was done is forgotten. Then the first of those that wait are taken, as many as there are
# places: they step behind all others until they would have timed out, so nobody else takes them,
# and the place of the last is where the workers are.
TAKE = f"""
local queue, heard = KEYS[1], KEYS[2]
local now, places, till, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for i = 5, #ARGV do
  redis.call('ZREM', queue, ARGV[i])
  redis.call('DEL', '{job_key_prefix}' .. ARGV[i])
end
local first = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, places, 'WITHSCORES')
local taken, before = {{}}, tonumber(redis.call('GET', heard) or 0)
local furthest = before
for i = 1, #first, 2 do
  local id, place = first[i], tonumber(first[i + 1])
  redis.call('ZADD', queue, 'XX', till, id)
  redis.call('EXPIRE', '{job_key_prefix}' .. id, seconds)
  taken[#taken + 1] = {{id, redis.call('GET', '{job_key_prefix}' .. id)}}
  if place < {MOST_PLACES} and place > furthest then furthest = place end
end
if furthest > before then redis.call('SET', heard, furthest) end
return taken
"""

Run = Callable[[UUID], Awaitable[None]]


class RingWorker(Worker):
    """Takes rings off the queue while `listening`, and runs each as one job."""

    def __init__(self, run: Run, *, redis: Redis, seconds: float, **options: Any) -> None:
        super().__init__(redis_pool=redis, **options)
        self._run = run
        self._seconds = seconds
        """No job takes longer."""
        self._take = redis.register_script(TAKE)
        self._done: list[str] = []
        """Redis has yet to forget them."""

    @property
    def job_counter(self) -> int:
        """Jobs at work. Counted, and not kept count of."""
        return sum(not task.done() for task in self.tasks.values())

    @job_counter.setter
    def job_counter(self, _: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What arq makes of it doesn't matter."""

    async def main(self) -> None:
        """Runs until cancelled, whatever stands in the queue: the rows say what is left to do."""
        while True:
            try:
                await self._poll_iteration()
                await self._next_ring()
            except Exception as error:
                log.warning("queue_lost", error=type(error).__name__)
                REDIS_RECONNECTS.inc()
                await asyncio.sleep(AWAY_SECONDS)

    async def _poll_iteration(self) -> None:
        for job_id in [job_id for job_id, task in self.tasks.items() if task.done()]:
            del self.tasks[job_id]
        places = self.max_jobs - self.job_counter if self.allow_pick_jobs else 0
        if places > 0 or self._done:
            await self._take_jobs(max(0, places))

    async def _take_jobs(self, places: int) -> None:
        now, done = timestamp_ms(), [*self._done]
        asked = [now, places, int(now + self._seconds * 1000), int(self._seconds * 2), *done]
        taken = await self._take([QUEUE, HEARD], asked)
        self._done = self._done[len(done) :]
        for id_, body in cast("list[tuple[bytes, bytes | None]]", taken):
            job_id = id_.decode()
            self.tasks[job_id] = asyncio.create_task(self._ring(job_id, body))

    async def forget(self) -> None:
        """Whatever was done by now; for the end. Never raises."""
        try:
            await self._take_jobs(0)
        except REDIS_ERRORS as error:
            log.warning("jobs_not_forgotten", error=type(error).__name__)

    async def _ring(self, job_id: str, body: bytes | None) -> None:
        """Never fails: the rows know better what is left to do."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._run(conversation_of(body))
        except Exception as error:
            log.warning("ring_abandoned", error=type(error).__name__)
        finally:
            self._done.append(job_id)

    async def _next_ring(self) -> None:
        """Blocks until somebody rings, for a second at most; a full worker leaves rings alone."""
        if self.job_counter >= self.max_jobs and self.tasks:
            await asyncio.wait(
                self.tasks.values(), timeout=BELL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        elif self.allow_pick_jobs:
            await self._hear()
        else:
            await asyncio.sleep(AWAY_SECONDS)

    async def _hear(self) -> None:
        heard = await cast("Awaitable[Any]", self.pool.blpop([BELL], timeout=BELL_SECONDS))
        if heard and not self.allow_pick_jobs:
            # Not for us any more: we drain, and may have rung ourselves.
            await cast("Awaitable[Any]", self.pool.lpush(BELL, b"1"))


def conversation_of(body: bytes | None) -> UUID:
    """What a job rings for. Raises an error of any kind where it is none of ours."""
    if body is None:
        raise ValueError("expired")
    name, arguments, *_ = deserialize_job_raw(body, deserializer=deserialize_job)
    if name != RING:
        raise ValueError("an unknown function")
    return UUID(arguments[0])


def ring_worker(settings: Settings, redis: Redis, run: Run) -> RingWorker:
    """The queue's end of this process; `run` is called for each ring and may take its time."""

    async def ring(ctx: dict[Any, Any], conversation_id: str) -> None:  # noqa: ARG001
        """A job's name, for arq."""
        await run(UUID(conversation_id))

    return RingWorker(
        run,
        redis=redis,
        seconds=settings.parley_turn_timeout_seconds + GRACE_SECONDS,
        functions=[func(ring, name=RING)],
        queue_name=QUEUE,
        handle_signals=False,
        max_jobs=settings.parley_max_turns,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
        log_results=False,
    )
