"""`parley erase`: everything of an owner, or of one conversation, out of Postgres and Redis.

Turns at work are cancelled first and their workers given time to end them. Then what Redis holds
goes, while the rows still tell which keys that are, then the rows, then what was written to Redis
meanwhile. Last, both are searched for anything that is left. Whoever can still log in may write
again meanwhile: take away their access first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from cli.erase_redis import erase_in_redis, left_in_redis
from cli.errors import EraseError
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.publisher import Publisher
from shared.redis import REDIS_ERRORS, Redis, connect_redis
from shared.settings import Settings
from shared.store import erasure, residue
from shared.store.erasure import Counts
from shared.store.failures import DATABASE_ERRORS

STOP_SECONDS = 10.0
CLEAN_SECONDS = 10.0
TICK_SECONDS = 0.1


class Target(msgspec.Struct, frozen=True):
    """Whose, or which: one of both."""

    user: str | None = None
    conversation: UUID | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What was erased, counted by table and kind of key, and what is left all the same."""

    user: str | None
    conversation: UUID | None
    erased_at: datetime
    seconds: float
    postgres: dict[str, int]
    redis: dict[str, int]
    residue_postgres: dict[str, int]
    residue_redis: dict[str, int]
    problems: list[str]
    not_touched: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.residue_postgres or self.residue_redis or self.problems)


async def erase(settings: Settings, target: Target) -> Receipt:
    """Raises Unavailable if Postgres is away. Without Redis no row goes; the receipt says so."""
    db, redis = connect(settings)
    try:
        return await Eraser(db, redis, target, residue.not_ours(settings)).run()
    finally:
        await redis.aclose(close_connection_pool=True)
        await db.close()


def connect(settings: Settings) -> tuple[Database, Redis]:
    """Raises EraseError where a URL can't be one, and tells no part of it."""
    name = "DATABASE_URL"
    try:
        db = Database(settings)
        name = "REDIS_URL"
        return db, connect_redis(settings)
    except (*DATABASE_ERRORS, ValueError, ImportError) as error:
        raise EraseError(f"{name} can't be used ({type(error).__name__})") from None


class Eraser:
    def __init__(
        self, db: Database, redis: Redis, target: Target, not_ours: tuple[str, ...]
    ) -> None:
        self._db = db
        self._redis = redis
        self._publisher = Publisher(redis)
        self._target = target
        self._not_ours = not_ours
        self._found: set[UUID] = set()
        """Conversations; those that are gone already too."""
        self._left: set[UUID] = set()
        """Those of them in which a worker may be at work that doesn't know it."""
        self._rows: Counts = Counter()
        self._keys: Counts = Counter()
        self._rows_left: Counts = Counter()
        self._keys_left: Counts = Counter()
        self._problems: list[str] = []
        if target.conversation is not None:
            self._found.add(target.conversation)

    async def run(self) -> Receipt:
        began = time.monotonic()
        deadline = began + STOP_SECONDS + CLEAN_SECONDS
        while not await self._round() and time.monotonic() < deadline:
            await asyncio.sleep(TICK_SECONDS)
        return Receipt(
            user=self._target.user,
            conversation=self._target.conversation,
            erased_at=datetime.now(UTC),
            seconds=round(time.monotonic() - began, 3),
            postgres=dict(sorted(self._rows.items())),
            redis=dict(sorted(self._keys.items())),
            residue_postgres=dict(self._rows_left),
            residue_redis=dict(self._keys_left),
            problems=self._problems,
            not_touched=self._not_ours,
        )

    async def _round(self) -> bool:
        """True if there is no need for another: nothing is left, or nothing could be begun."""
        found = await self._conversations()
        self._found |= found
        await self._stop(found)
        begun = await self._erase_keys()
        # Once the rows are gone nobody knows whose the keys were, not even the next erasure.
        if begun:
            await self._erase_rows(found)
            await self._erase_keys()
        elif not self._rows.total():
            self._problems.append("Nothing was erased from Postgres; run it again with Redis there")
        await self._look_for_rows()
        # Left is a worker's last ring, or something the owner did meanwhile.
        clean = not (self._rows_left or self._keys_left or self._problems)
        return clean or not (begun or self._rows.total())

    async def _erase_rows(self, found: Collection[UUID]) -> None:
        for conversation_id in found:
            whole = False
            while not whole:
                whole = await self._erase_some(conversation_id)
        if self._target.user is not None:
            async with self._db.transaction(EVERYONE) as tx:
                await residue.be_patient(tx)
                self._rows += await erasure.delete_owned(tx, self._target.user)

    async def _conversations(self) -> set[UUID]:
        user, conversation = self._target.user, self._target.conversation
        async with self._db.snapshot(EVERYONE) as tx:
            await residue.be_patient(tx)
            if conversation is not None:
                return await erasure.conversation_by_id(tx, conversation)
            assert user is not None
            return await erasure.conversations_of(tx, user)

    async def _erase_some(self, conversation_id: UUID) -> bool:
        async with self._db.transaction(EVERYONE) as tx:
            if not await erasure.lock_any(tx, conversation_id):
                return True
            await residue.be_patient(tx)
            gone, whole = await erasure.delete_some(tx, conversation_id)
        self._rows += gone
        return whole

    async def _stop(self, ids: Collection[UUID]) -> None:
        """Every turn that waits or runs is cancelled, and ended by its worker where it has one."""
        working: set[UUID] = set()
        for conversation_id in ids:
            async with self._db.transaction(EVERYONE) as tx:
                changes, stopped = await erasure.stop_turns(tx, conversation_id)
            if stopped.holders:
                working.add(conversation_id)
            if stopped.left:
                self._left.add(conversation_id)
            try:
                if changes:
                    await self._publisher.changes(conversation_id, changes)
                for holder in stopped.holders:
                    await self._publisher.nudge(holder)
            except REDIS_ERRORS:
                continue  # the worker's next heartbeat tells it
        deadline = time.monotonic() + STOP_SECONDS
        while working and time.monotonic() < deadline:
            await asyncio.sleep(TICK_SECONDS)
            async with self._db.snapshot(EVERYONE) as tx:
                working = await erasure.held_conversations(tx, working)

    async def _erase_keys(self) -> bool:
        """And looks for what is left of them. False if Redis can't be asked."""
        user = self._target.user
        try:
            self._keys += await erase_in_redis(self._redis, owner=user, ids=self._found)
            for conversation_id in self._left:
                await self._publisher.silence(conversation_id)
            self._keys_left = await left_in_redis(self._redis, owner=user, ids=self._found)
        except REDIS_ERRORS as error:
            self._problems = [f"Redis could not be asked ({type(error).__name__})"]
            self._keys_left = Counter()
            return False
        self._problems = []
        return True

    async def _look_for_rows(self) -> None:
        left: Counts = Counter()
        async with self._db.snapshot(EVERYONE) as tx:
            columns = await residue.columns_to_search(tx, left_out=self._not_ours)
        for column in columns:
            # A table that the services may not read is asked as whoever logs in here.
            async with self._db.snapshot(EVERYONE if column.readable else LOGIN) as tx:
                await residue.be_patient(tx)
                count = await residue.count_left(
                    tx, column, owner=self._target.user, ids=self._found
                )
            if count:
                left[column.name] = max(left[column.name], count)
        self._rows_left = left
