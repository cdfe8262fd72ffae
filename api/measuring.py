"""What is measured as somebody asks: how the service as a whole is doing, by what Postgres and
Redis say of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import nan

from shared import VERSION
from shared.connection import EVERYONE
from shared.db import Database
from shared.metrics import (
    INFO,
    OLDEST_WAITING,
    QUEUE_JOBS,
    STORE_UP,
    TURNS,
    WORKERS,
    exposition,
)
from shared.models import SCHEMA_REVISION
from shared.redis import QUEUE, Redis
from shared.settings import Settings
from shared.store.fleet import fleet

LOOK_SECONDS = 1.0
"""A store that says nothing for so long counts as away."""
KEPT_SECONDS = 1.0
"""However many ask, the stores are asked no more often."""
NOT_KNOWN = nan
"""What can't be known now: an old number would be taken for a new one."""


class Measuring:
    def __init__(self, settings: Settings, *, db: Database, redis: Redis) -> None:
        self._settings = settings
        self._db = db
        self._redis = redis
        self._looking = asyncio.Lock()
        self._looked = -KEPT_SECONDS
        INFO.labels(VERSION, SCHEMA_REVISION).set(1)

    async def exposition(self) -> bytes:
        """Every metric of this process, in Prometheus' text format."""
        async with self._looking:
            if time.monotonic() - self._looked >= KEPT_SECONDS:
                await asyncio.gather(
                    self._safely("postgres", self._postgres, forget=_forget_postgres),
                    self._safely("redis", self._queue, forget=_forget_redis),
                )
                self._looked = time.monotonic()
        return exposition(service=True)

    async def _safely(
        self, store: str, look: Callable[[], Awaitable[None]], *, forget: Callable[[], None]
    ) -> None:
        up = False
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await look()
            up = True
        except Exception:
            forget()
        STORE_UP.labels(store).set(up)

    async def _postgres(self) -> None:
        limit = self._settings.parley_limit_running_turns
        async with self._db.snapshot(EVERYONE) as tx:
            found = await fleet(tx, running_limit=limit)
        TURNS.labels("queued").set(found.queued)
        TURNS.labels("running").set(found.running)
        TURNS.labels("awaiting_approval").set(found.awaiting_approval)
        OLDEST_WAITING.set(found.longest_wait_seconds)
        WORKERS.set(found.workers)

    async def _queue(self) -> None:
        async with self._redis.promptly():
            QUEUE_JOBS.set(await self._redis.zcard(QUEUE))


def _forget_postgres() -> None:
    for status in ("queued", "running", "awaiting_approval"):
        TURNS.labels(status).set(NOT_KNOWN)
    OLDEST_WAITING.set(NOT_KNOWN)
    WORKERS.set(NOT_KNOWN)


def _forget_redis() -> None:
    QUEUE_JOBS.set(NOT_KNOWN)
