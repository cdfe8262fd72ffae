"""What nobody will ask for again is forgotten by a worker, now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.redis import end
from shared.store.browser_sessions import FORGOTTEN_AT_ONCE, forget_ended_sessions
from shared.store.erasure import FORGOTTEN_AT_ONCE as MOST
from shared.store.erasure import forget_old_usage
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


@asynccontextmanager
async def sweeping(desk: Desk, *, every: float) -> AsyncGenerator[None]:
    settings = desk.settings.model_copy(update={"parley_sweep_seconds": every})
    task = asyncio.create_task(Sweep(desk.db, desk.feed, settings, await desk.worker()).run())
    yield
    await end(task)


@pytest.mark.parametrize("every", [0.01, 3600])
async def test_expired_sessions_and_tickets_go_and_no_others_however_often_turns_are_looked_for(
    desk: Desk, every: float
) -> None:
    about = await desk.conversation()
    await make(desk.db, about, 3, seconds=-1)
    await make(desk.db, about, 2, seconds=60)

    async def tidy() -> bool:
        return await left(desk.db) == [2, 2]

    async with sweeping(desk, every=every):
        await until(tidy)


@pytest.mark.parametrize(
    "held",
    [
        "SELECT 1 FROM token_usage FOR UPDATE",
        "LOCK TABLE browser_sessions IN ACCESS EXCLUSIVE MODE",
    ],
)
async def test_a_turn_that_waits_is_found_whatever_stands_in_the_way_of_tidying(
    desk: Desk, held: str
) -> None:
    turn = await desk.say(await desk.conversation(), "say hello")
    await use_tokens(desk.db, 1)

    async def answered() -> bool:
        return (await desk.turn(turn.id)).status == "completed"

    async with desk.db.transaction(EVERYONE) as other:
        # For as long as this test lasts, and not until Postgres ends it.
        for limit in ("transaction_timeout", "idle_in_transaction_session_timeout"):
            await other.execute(text(f"SET LOCAL {limit} = 0"))
        await other.execute(text("RESET ROLE"))
        await other.execute(text(held))
        async with sweeping(desk, every=0.01):
            await until(answered)


async def use_tokens(db: Database, rows: int) -> None:
    """So long ago that it counts for nothing."""
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text(
                "INSERT INTO token_usage (user_id, day) SELECT n::text, "
                f"current_date - 100 FROM generate_series(1, {rows}) n"
            )
        )


async def test_of_what_was_used_so_much_is_forgotten_at_once_and_nobody_is_waited_for(
    desk: Desk,
) -> None:
    await use_tokens(desk.db, MOST + 5)
    async with desk.db.transaction(EVERYONE) as other:
        await other.execute(text("SELECT 1 FROM token_usage LIMIT 2 FOR UPDATE"))
        for rest in (5, 2):
            async with desk.db.transaction(EVERYONE) as tx:
                await forget_old_usage(tx)
                assert await tx.scalar(text("SELECT count(*) FROM token_usage")) == rest


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
