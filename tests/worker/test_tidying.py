"""What nobody will ask for again is forgotten by a worker, now and then."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.store.browser_sessions import FORGOTTEN_AT_ONCE, forget_ended_sessions
from shared.store.tickets import forget_old_tickets
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.sweep import Sweep

pytestmark = pytest.mark.anyio

TABLES = {"browser_sessions": "id_hash", "stream_tickets": "ticket_hash"}


async def make(db: Database, about: UUID, count: int, *, seconds: int) -> None:
    """Sessions and tickets that expire so many seconds from now, or did."""
    async with db.transaction(EVERYONE) as tx:
        for table, key in TABLES.items():
            more = ", conversation_id" if table == "stream_tickets" else ""
            value = f", '{about}'" if more else ""
            await tx.execute(
                text(
                    f"INSERT INTO {table} ({key}, user_id, expires_at{more}) "
                    "SELECT uuid_send(gen_random_uuid()), 'alice', "
                    f"now() + make_interval(secs => {seconds}){value} "
                    f"FROM generate_series(1, {count})"
                )
            )


async def left(db: Database) -> list[int]:
    async with db.snapshot(EVERYONE) as tx:
        return [await tx.scalar(text(f"SELECT count(*) FROM {table}")) for table in TABLES]


async def test_expired_sessions_and_tickets_go_and_no_others(desk: Desk) -> None:
    about = await desk.conversation()
    await make(desk.db, about, 3, seconds=-1)
    await make(desk.db, about, 2, seconds=60)
    settings = desk.settings.model_copy(update={"parley_sweep_seconds": 0.01})
    sweeping = asyncio.create_task(Sweep(desk.db, desk.feed, settings, await desk.worker()).run())

    async def tidy() -> bool:
        return await left(desk.db) == [2, 2]

    await until(tidy)
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping


async def test_so_many_go_at_once_and_nobody_is_waited_for(desk: Desk) -> None:
    await make(desk.db, await desk.conversation(), FORGOTTEN_AT_ONCE + 5, seconds=-1)
    async with desk.db.transaction(EVERYONE) as other:
        for table, key in TABLES.items():
            lock = f"SELECT 1 FROM {table} ORDER BY {key} LIMIT 2 FOR UPDATE"
            await other.execute(text(lock))
        for rest in ([5, 5], [2, 2]):
            async with desk.db.transaction(EVERYONE) as tx:
                await forget_ended_sessions(tx)
                await forget_old_tickets(tx)
            assert await left(desk.db) == rest
