"""Nothing leaves before its commit, and an absence is an absence."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from cli.embedded import Service
from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import Unavailable
from shared.settings import Settings
from shared.store.conversations import create_conversation, find_conversation
from shared.store.residue import be_patient
from tests.fixtures.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio


async def test_what_is_told_can_be_read_by_whoever_hears_it(db: Database) -> None:
    told: list[bool] = []

    async def is_there(conversation_id: UUID) -> None:
        async with db.snapshot(EVERYONE) as tx:
            found = await find_conversation(tx, conversation_id, owner="alice")
            told.append(found is not None)

    async with db.transaction(EVERYONE) as tx:
        created = await create_conversation(tx, owner="alice")
        tx.after_commit(lambda: is_there(created.id))
    assert told == [True]


async def test_what_is_rolled_back_is_never_told(db: Database) -> None:
    told: list[str] = []

    async def tell() -> None:
        told.append("told")

    async def fail() -> None:
        async with db.transaction(EVERYONE) as tx:
            tx.after_commit(tell)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert told == []


async def test_a_failure_to_tell_changes_nothing(db: Database) -> None:
    async def fail() -> None:
        raise ConnectionError

    async with db.transaction(EVERYONE) as tx:
        created = await create_conversation(tx, owner="alice")
        tx.after_commit(fail)
    async with db.snapshot(EVERYONE) as tx:
        assert await find_conversation(tx, created.id, owner="alice") is not None


async def test_a_connection_lost_while_it_is_made_ready_is_an_absence(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare: Any = asyncpg.Connection.set_type_codec  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    async def lose(connection: Any, *given: Any, **named: Any) -> None:
        connection.terminate()
        await prepare(connection, *given, **named)

    monkeypatch.setattr(asyncpg.Connection, "set_type_codec", lose)
    with pytest.raises(Unavailable):
        async with db.snapshot(EVERYONE):
            pass


@pytest.mark.parametrize("word", ["BEGIN", "COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("loss", [asyncpg.InternalClientError, asyncpg.InterfaceError, OSError])
async def test_a_connection_that_breaks_at_either_end_of_a_transaction_is_replaced(
    db: Database, monkeypatch: pytest.MonkeyPatch, word: str, loss: type[Exception]
) -> None:
    """One that broke in the pool is nobody's trouble; of a commit nobody knows what became."""
    execute: Any = asyncpg.Connection.execute  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    broken: list[Any] = []

    async def breaks(connection: Any, query: str) -> str:
        if query.startswith(word) and not broken:
            broken.append(connection)
            raise loss("broken")
        done: str = await execute(connection, query)
        return done

    async with db.transaction("alice") as tx:
        created = await create_conversation(tx, owner="alice")
    monkeypatch.setattr(asyncpg.Connection, "execute", breaks)
    kind = db.transaction if word == "COMMIT" else db.snapshot
    with nullcontext() if word == "BEGIN" else pytest.raises(Unavailable):
        async with kind("alice") as tx:
            assert await find_conversation(tx, created.id, owner="alice") is not None
    assert broken[0].is_closed()
    async with db.snapshot("alice") as tx:
        assert await find_conversation(tx, created.id, owner="alice") is not None


SHORT_SECONDS = 0.2
LONG = text("SELECT pg_sleep(0.6)")


async def test_where_postgres_is_silent_in_a_transaction_it_is_given_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.SILENCE_SECONDS", SHORT_SECONDS)
    made: list[UUID] = []

    async def wait_for_long() -> None:
        async with db.transaction("alice") as tx:
            made.append((await create_conversation(tx, owner="alice")).id)
            await tx.execute(LONG)

    with pytest.raises(Unavailable):
        await wait_for_long()
    async with db.snapshot("alice") as tx:
        assert await find_conversation(tx, made[0], owner="alice") is None


async def test_what_was_allowed_to_take_its_time_may_take_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.SILENCE_SECONDS", SHORT_SECONDS)
    async with db.snapshot("alice") as tx:
        await be_patient(tx)
        await tx.execute(LONG)


async def test_a_postgres_that_says_nothing_at_all_is_away_and_comes_back(
    own_postgres: Service,
) -> None:
    """Its connections stay open, as those of a host do that vanishes from the network."""
    settings = Settings(
        database_url=SecretStr(own_postgres.url), redis_url=SecretStr("redis://nowhere")
    )
    db = Database(settings)
    async with db.snapshot(EVERYONE) as tx:
        await tx.execute(text("SELECT 1"))
    with standing_still(own_postgres), pytest.raises(Unavailable):
        async with asyncio.timeout(DEADLINE_SECONDS), db.snapshot(EVERYONE):
            pass
    async with db.snapshot(EVERYONE) as tx:
        await tx.execute(text("SELECT 1"))
    await db.close()


@contextmanager
def standing_still(postgres: Service) -> Generator[None]:
    server = psutil.Process(postgres.pid)
    frozen = [server, *server.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(frozen):
            process.resume()


@pytest.mark.parametrize(("role", "database"), [("nobody_there", None), (None, "nothing_there")])
async def test_a_login_that_is_refused_is_an_absence(
    settings: Settings, role: str | None, database: str | None
) -> None:
    """As while a password is being replaced: it will be there again, and a 500 would say that it
    won't.
    """
    url = urlsplit(settings.database_url.get_secret_value())
    if role is not None:
        url = url._replace(netloc=url.netloc.replace("parley@", f"{role}@"))
    if database is not None:
        url = url._replace(path=f"/{database}")
    refused = Database(settings.model_copy(update={"database_url": SecretStr(url.geturl())}))
    try:
        with pytest.raises(Unavailable):
            async with refused.snapshot(EVERYONE):
                pass
    finally:
        await refused.close()
