"""What `parley status --watch` shows: each part asked again and again, by a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, NamedTuple, TypeVar

from cli.doctor_api import Seen, There, look
from cli.doctor_findings import kind_of
from shared.connection import EVERYONE
from shared.db import Database
from shared.redis import QUEUE, Redis
from shared.settings import Settings
from shared.store.doctor import Ended, ended
from shared.store.fleet import Fleet, WorkerState, fleet, worker_states

T = TypeVar("T")
ASK_SECONDS = 2.0
LATELY = timedelta(minutes=1)
LONGEST_LIFE = timedelta(hours=1)
"""Turns older than that may end unseen: to look for them would be too much for each second."""


class Rows(NamedTuple):
    """What Postgres knows, all of one moment."""

    fleet: Fleet
    workers: list[WorkerState]
    ended: Ended


class Source(Generic[T]):
    """What a part said last. A part that is silent holds up neither the others nor the drawing."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self.value: T | None = None
        self.why = "not asked yet"
        """There is no value: the kind of the error."""
        self.told = asyncio.Event()
        """It has said something, or was found to be away."""

    async def run(self, seconds: float) -> None:
        """Until cancelled, with a pause of `seconds` after each answer."""
        while True:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    self.value, self.why = await self._ask(), ""
            except Exception as error:
                self.value, self.why = None, kind_of(error)
            self.told.set()
            await asyncio.sleep(seconds)


class Figures:
    """All there is to see."""

    def __init__(self, settings: Settings, db: Database, redis: Redis, url: str) -> None:
        self.url = url
        self._settings = settings
        self._db = db
        self._redis = redis
        self.rows = Source(self._ask_rows)
        self.rings = Source(self._count_rings)
        self.api = Source(self._look)

    @property
    def sources(self) -> tuple[Source[Rows], Source[int], Source[Seen]]:
        return self.rows, self.rings, self.api

    async def _ask_rows(self) -> Rows:
        async with self._db.snapshot(EVERYONE) as tx:
            found = await fleet(tx, running_limit=self._settings.parley_limit_running_turns)
            workers = await worker_states(tx)
            life = timedelta(
                seconds=self._settings.parley_turn_timeout_seconds + found.longest_wait_seconds
            )
            accepted = LATELY + min(life, LONGEST_LIFE)
            return Rows(found, workers, await ended(tx, within=LATELY, accepted=accepted))

    async def _count_rings(self) -> int:
        count: int = await self._redis.zcard(QUEUE)
        return count

    async def _look(self) -> Seen:
        seen = await look(self.url)
        if seen.there is not There.parley:
            raise ConnectionError
        return seen
