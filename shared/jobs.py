"""The doorbell: tells the workers that a conversation has a turn waiting.

A ring may be lost or doubled; the rows in `turns` are the truth and the sweep finds what nobody
rang for. The arguments are ids only.

Rings are heard in the order of their scores, and a score is no time but a place in a fair order: an
owner's rings stand one behind the other, and the first of them where the workers are now. So
whoever rings ten thousand times waits behind themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import structlog
from arq.constants import job_key_prefix
from arq.jobs import serialize_job as make_job
from redis.asyncio.client import Pipeline

from shared.ids import new_id
from shared.redis import QUEUE, REDIS_ERRORS, Redis, serialize_job

log = structlog.get_logger()

RING = "ring"
BELL = "parley:bell"
MAX_UNHEARD = 1000
HEARD = "parley:fair:heard"
"""The highest place that a worker has taken a ring from."""
RUNG = "parley:fair:rung:"
"""With an owner: the place of their last ring."""
PARKED = "parley:parked:"
"""With an owner: conversations whose turn may run once another of the owner's has ended."""
MOST_PLACES = 10**12
"""A score below is a place; one above is a time in milliseconds."""
JOB_SECONDS = 24 * 3600
FAIR_SECONDS = 3600
"""Forgetting an owner's last place gives them a better one, so it can wait until they are quiet."""

# arq's own form of a job; its score, the owner's place and the bell are ours. Where a turn has
# ended and somebody is parked who may go on, nothing is done but to name them: they come first.
ENQUEUE = f"""
local queue, job, heard, rung, parked = unpack(KEYS)
local id, body = ARGV[1], ARGV[2]
if ARGV[3] == '1' then
  local next = redis.call('ZPOPMIN', parked)[1]
  if next then return next end
  if ARGV[4] == '0' then return end
end
local place = math.max(tonumber(redis.call('GET', heard) or 0),
                       tonumber(redis.call('GET', rung) or 0)) + 1
redis.call('SET', job, body, 'EX', {JOB_SECONDS})
redis.call('ZADD', queue, place, id)
redis.call('SET', rung, place, 'EX', {FAIR_SECONDS})
redis.call('LPUSH', '{BELL}', 1)
redis.call('LTRIM', '{BELL}', 0, {MAX_UNHEARD - 1})
"""


class Jobs:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enqueue = redis.register_script(ENQUEUE)

    def to_ring(self, conversation_id: UUID, owner: str) -> Callable[[Pipeline], object]:
        """The same as `ring`, for somebody who asks more of Redis in the same round trip."""
        keys, given = _asked(str(conversation_id), owner)
        return lambda pipe: pipe.eval(ENQUEUE, len(keys), *keys, *given)

    async def ring(self, conversation_id: UUID, owner: str = "") -> bool:
        """True if Redis took it. Never raises, and never takes longer than half a second.

        Rings of an owner that the caller doesn't know stand in one line.
        """
        try:
            async with self._redis.promptly():
                await self._ring(str(conversation_id), owner)
        except REDIS_ERRORS as error:
            log.warning("ring_failed", error=type(error).__name__)
            return False
        return True

    async def ended(self, conversation_id: UUID, owner: str, *, waits: bool) -> bool:
        """A turn has ended: rings for the next one, if one `waits` in its conversation, and for one
        of the owner's parked conversations. True if Redis took it; never raises.
        """
        try:
            async with self._redis.promptly():
                own = str(conversation_id)
                parked = await self._ring(own, owner, ended=True, waits=waits)
                if parked is not None:
                    await self._ring(parked.decode(), owner)
                    if waits:
                        await self._ring(own, owner)
        except REDIS_ERRORS as error:
            log.warning("ring_failed", error=type(error).__name__)
            return False
        return True

    async def _ring(
        self, conversation_id: str, owner: str, *, ended: bool = False, waits: bool = True
    ) -> bytes | None:
        keys, given = _asked(conversation_id, owner, ended=ended, waits=waits)
        return cast("bytes | None", await self._enqueue(keys, given))

    async def park(self, conversation_id: UUID, owner: str) -> None:
        """As many of the owner's turns run as may. Never raises; the sweep would find it too."""
        key = PARKED + owner
        try:
            async with self._redis.promptly(), self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(key, {str(conversation_id): time.time()}, nx=True)
                pipe.expire(key, FAIR_SECONDS)
                await pipe.execute()
        except REDIS_ERRORS as error:
            log.warning("park_failed", error=type(error).__name__)


def _asked(
    conversation_id: str, owner: str, *, ended: bool = False, waits: bool = True
) -> tuple[list[str], list[Any]]:
    """The keys and arguments of ENQUEUE."""
    job_id = new_id().hex
    now_ms = int(time.time() * 1000)
    job = make_job(RING, (conversation_id,), {}, None, now_ms, serializer=serialize_job)
    keys = [QUEUE, job_key_prefix + job_id, HEARD, RUNG + owner, PARKED + owner]
    return keys, [job_id, job, int(ended), int(waits)]
