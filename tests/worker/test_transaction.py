"""Nothing leaves before its commit, and an absence is an absence."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import Unavailable
from shared.store.conversations import create_conversation, find_conversation

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
