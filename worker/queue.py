"""arq's worker, made to survive: woken by a ring instead of polling, unharmed when Redis is away.

arq is frozen, so its internals can be relied on. What is overridden: `main` (arq ends at the first
error of Redis and polls blindly), the count of running jobs (where Redis fails at the wrong moment
arq forgets to count down, until it takes no job any more), and the score of a running job (arq
reads only the head of the queue, which running jobs would fill). The order of the queue is that of
`shared/jobs.py`: whatever is taken tells the others how far we are.
"""

# arq leaves its job context and redis-py its replies untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import structlog
from arq.constants import job_key_prefix
from arq.utils import timestamp_ms
from arq.worker import Worker, func

from shared.jobs import BELL, HEARD, MOST_PLACES, RING
from shared.redis import QUEUE, REDIS_ERRORS, Redis, deserialize_job, serialize_job
from shared.settings import Settings

log = structlog.get_logger()

BELL_SECONDS = 1
AWAY_SECONDS = 0.5
READ_LIMIT = 1000
GRACE_SECONDS = 60

# Behind those that wait; and the place it had is where the workers are.
STEP_ASIDE = f"""
redis.call('ZADD', KEYS[1], 'XX', ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
local place = tonumber(ARGV[4])
if place < {MOST_PLACES} and place > tonumber(redis.call('GET', KEYS[3]) or 0) then
  redis.call('SET', KEYS[3], place)
end
"""

Run = Callable[[UUID], Awaitable[None]]


class RingWorker(Worker):
    """Takes rings off the queue while `listening`, and runs each as one job."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sem = asyncio.Semaphore(sys.maxsize)

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
                await asyncio.sleep(AWAY_SECONDS)

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


def ring_worker(settings: Settings, redis: Redis, run: Run) -> RingWorker:
    """The queue's end of this process; `run` is called for each ring and may take its time."""
    timeout = settings.parley_turn_timeout_seconds + GRACE_SECONDS
    step_aside = redis.register_script(STEP_ASIDE)

    async def ring(ctx: dict[Any, Any], conversation_id: str) -> None:
        """Never fails: arq would forget the job, and the rows know better what is left to do."""
        try:
            await take(str(ctx["job_id"]), int(ctx["score"]))
            await run(UUID(conversation_id))
        except Exception as error:
            log.warning("ring_abandoned", error=type(error).__name__)

    async def take(job_id: str, place: int) -> None:
        """Moves a running job behind those that wait, until it would have timed out."""
        till = timestamp_ms() + timeout * 1000
        try:
            keys = [QUEUE, job_key_prefix + job_id, HEARD]
            await step_aside(keys, [job_id, till, int(timeout * 2), place])
        except REDIS_ERRORS as error:
            log.warning("step_aside_failed", error=type(error).__name__)

    return RingWorker(
        functions=[func(ring, name=RING, timeout=timeout, keep_result=0)],
        queue_name=QUEUE,
        redis_pool=redis,
        handle_signals=False,
        max_jobs=settings.parley_max_turns,
        keep_result=0,
        queue_read_limit=READ_LIMIT,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
        log_results=False,
    )
