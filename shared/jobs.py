"""The doorbell: tells the workers that a conversation has a turn waiting.

A ring may be lost or doubled; the rows in `turns` are the truth and the sweep finds what nobody
rang for. The arguments are ids only.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from shared.redis import QUEUE, REDIS_ERRORS, Redis

log = structlog.get_logger()

RING = "ring"
BELL = "parley:bell"
MAX_UNHEARD = 1000


class Jobs:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ring(self, conversation_id: UUID) -> bool:
        """True if Redis took it. Never raises, and never takes longer than half a second."""
        try:
            async with self._redis.promptly():
                await self._redis.enqueue_job(RING, str(conversation_id), _queue_name=QUEUE)
                await self._wake_one()
        except REDIS_ERRORS as error:
            log.warning("ring_failed", error=type(error).__name__)
            return False
        return True

    async def _wake_one(self) -> None:
        """A worker blocks on this list, so that it need not poll; one ring wakes one worker."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.lpush(BELL, b"1")
            pipe.ltrim(BELL, 0, MAX_UNHEARD - 1)
            await pipe.execute()
