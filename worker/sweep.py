"""What a worker does whether anybody rings or not: keep its lease, and look for turns left over.

The sweep alone keeps the service going without Redis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from shared.connection import EVERYONE
from shared.db import Database, Transaction
from shared.feed import Feed
from shared.metrics import HEARTBEATS_FAILED, SWEPT
from shared.redis import end
from shared.settings import Settings
from shared.store.browser_sessions import forget_ended_sessions
from shared.store.claims import give_back
from shared.store.erasure import forget_old_usage
from shared.store.idempotency import forget_old
from shared.store.tickets import forget_old_tickets
from shared.store.waiting import conversations_to_run
from shared.store.workers import forget_dead, renew_lease
from worker.purge import purge
from worker.turn import Turns

log = structlog.get_logger()

HEARTBEATS_PER_LEASE = 3
AWAY_SECONDS = 0.5
TIDY_SECONDS = 60.0
FORGET = (forget_dead, forget_old, forget_ended_sessions, forget_old_tickets, forget_old_usage)
"""What nobody will ask for again."""


async def renew(db: Database, settings: Settings, turns: Turns) -> None:
    """One heartbeat. What the rows and we don't agree on is dropped, here or there."""
    before = turns.held
    async with db.transaction(EVERYONE) as tx:
        lease = timedelta(seconds=settings.parley_lease_seconds)
        beat = await renew_lease(tx, turns.worker_id, lease=lease)
        for turn_id, attempt in turns.forgotten(beat.held):
            log.info("turn_forgotten", turn_id=str(turn_id), attempt=attempt)
            await give_back(tx, turn_id, attempt, worker_id=turns.worker_id)
    turns.lose(before - beat.held)
    turns.cancel(beat.cancelled)


async def heartbeat(db: Database, feed: Feed, settings: Settings, turns: Turns) -> None:
    """Renews the worker's lease until cancelled; while Postgres is away the work goes on.

    A nudge through the feed brings the next one forward: then somebody cancelled a turn of ours.
    """
    async with feed.subscribe(turns.worker_id) as nudges:
        while True:
            pause = settings.parley_lease_seconds / HEARTBEATS_PER_LEASE
            try:
                await renew(db, settings, turns)
            except Exception as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
                HEARTBEATS_FAILED.inc()
                pause = AWAY_SECONDS
            turns.has_beaten.set()
            await nudges.wait(pause)


class Sweep:
    """Looks into Postgres every second or sooner, and runs what nobody runs."""

    def __init__(self, db: Database, feed: Feed, settings: Settings, turns: Turns) -> None:
        self._db = db
        self._feed = feed
        self._settings = settings
        self._turns = turns
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; the turns it began go on, see `tasks`."""
        tidying = asyncio.create_task(self._tidy_now_and_then())
        try:
            while True:
                # Jittered downwards, so that the setting is the longest anybody waits.
                await asyncio.sleep(self._settings.parley_sweep_seconds * random.uniform(0.5, 1.0))  # noqa: S311
                try:
                    await self._once()
                except Exception as error:
                    log.warning("sweep_failed", error=type(error).__name__)
        finally:
            await end(tidying)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        return set(self._tasks)

    async def _once(self) -> None:
        async with self._db.transaction(EVERYONE) as tx:
            found = await conversations_to_run(
                tx,
                limit=self._turns.free,
                running_limit=self._settings.parley_limit_running_turns,
            )
        for conversation_id in found:
            log.info("turn_swept", conversation_id=str(conversation_id))
            SWEPT.inc()
            task = asyncio.create_task(self._turns.run_all(conversation_id))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def _tidy_now_and_then(self) -> None:
        """At once and then every minute or sooner, until cancelled. Beside the rounds: turns left
        over must not wait for it.
        """
        while True:
            for forget in FORGET:
                await self._tidy(forget)
            await self._purge()
            await asyncio.sleep(TIDY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311

    async def _tidy(self, forget: Callable[[Transaction], Awaitable[None]]) -> None:
        try:
            async with self._db.transaction(EVERYONE) as tx:
                await forget(tx)
        except Exception as error:
            log.warning("tidying_failed", what=forget.__name__, error=type(error).__name__)

    async def _purge(self) -> None:
        try:
            await purge(self._db, self._feed, self._settings)
        except Exception as error:
            log.warning("purge_failed", error=type(error).__name__)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("sweep_task_failed", error=type(error).__name__)
