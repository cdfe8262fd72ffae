"""Where a query forgets whose rows it asks for, Postgres doesn't: the first wall is taken away."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest
from httpx import AsyncClient
from litestar import Litestar
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

import shared.store
from shared.access import Access
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.errors import LeaseLost, RequestError
from shared.ids import new_id
from shared.statement import Statement
from shared.store.browser_sessions import open_session
from shared.store.calls import OpenCall, new_call, start_calls
from shared.store.endings import Spent
from shared.store.feedback import Rated
from shared.store.proof import rows_of
from shared.store.sequence import take_seqs
from shared.store.tasks import create_task
from shared.store.tickets import add_ticket
from shared.store.turns import find_turn
from tests.api.talk import CONVERSATIONS, begin, expect_problem, say
from tests.api.test_auth import PAGE, routes
from tests.api.test_tenants import ask
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

SECRET = "private words"
OWNERS = re.compile(r"\w+\.user_id = (\$\d+::VARCHAR)")
# They speak of the whole service, on its behalf.
OF_NOBODY = {
    "workers",
    "health",
    "proof",
    "audit",
    "erasure",
    "residue",
    "waiting",
    "fleet",
    "doctor",
}
FOR_NOBODY = {"conversations_to_run", "forget_old", "last_seqs"}


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """Every query forgets its `user_id = …`; the list counts those that had one."""
    removed: list[str] = []

    def forget(found: re.Match[str]) -> str:
        removed.append(found[0])
        return f"{found[1]} IS NOT NULL"

    def before(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return OWNERS.sub(forget, statement), parameters

    bound = Statement.bound

    def without(self: Statement, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        sql, given = bound(self, values)
        return OWNERS.sub(forget, sql), given

    monkeypatch.setattr(Statement, "bound", without)
    event.listen(Engine, "before_cursor_execute", before, retval=True)
    yield removed
    event.remove(Engine, "before_cursor_execute", before)


async def test_every_route_keeps_what_is_alices_from_bob(
    client: AsyncClient,
    app: Litestar,
    db: Database,
    alice: Person,
    bob: Person,
    forgotten: list[str],
) -> None:
    conversation = await begin(client, title=SECRET)
    turn = (await say(client, conversation, SECRET))["turn"]
    before = await everything_of(db, alice)
    for method, path in routes(app):
        known = path.replace("{conversation_id}", conversation["id"])
        known = known.replace("{turn_id}", turn["id"]).replace("{user_id}", bob.owner)
        known = known.replace("{message_id}", turn["user_message_id"])
        forgotten.clear()
        answer = await ask(client, method, known, bob.headers)
        assert SECRET not in answer.text, (method, path)
        if "_id}" in path.replace("{user_id}", "") and path not in PAGE:
            expect_problem(answer, 404, "not_found")
            assert forgotten, (method, path)
    assert await everything_of(db, alice) == before


async def test_without_the_second_wall_it_would_be_told(
    client: AsyncClient, db: Database, bob: Person, forgotten: list[str]
) -> None:
    """So that the test above is known to be able to fail."""
    await begin(client, title=SECRET)
    assert SECRET not in (await client.get(CONVERSATIONS, headers=bob.headers)).text
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("ALTER TABLE conversations DISABLE ROW LEVEL SECURITY"))
    assert SECRET in (await client.get(CONVERSATIONS, headers=bob.headers)).text
    assert forgotten


def store_functions() -> list[tuple[str, Callable[..., Awaitable[Any]]]]:
    """Every function that asks or changes rows, by the module it stands in."""
    found: list[tuple[str, Callable[..., Awaitable[Any]]]] = []
    for module in pkgutil.iter_modules(shared.store.__path__):
        if module.name in OF_NOBODY:
            continue
        loaded = importlib.import_module(f"shared.store.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.iscoroutinefunction):
            here = function.__module__ == loaded.__name__ and not name.startswith("_")
            if here and name not in FOR_NOBODY:
                found.append((f"{module.name}.{name}", function))
    return found


async def test_no_query_tells_or_changes_what_is_anothers(
    client: AsyncClient, db: Database, alice: Person
) -> None:
    """Each is asked in a transaction of Mallory's, and told that it is for Alice: all it can go by
    is what Postgres lets it see.
    """
    given = await belongings(client, db, alice)
    before = await everything_of(db, alice)
    asked: list[str] = []
    for name, function in store_functions():
        told: Any = None
        with suppress(DBAPIError, asyncpg.PostgresError, LeaseLost, RequestError, AssertionError):
            async with db.transaction("mallory") as tx:
                told = await function(tx, **arguments_of(function, given | given.get(name, {})))
        assert SECRET not in repr(told), name
        assert await everything_of(db, alice) == before, name
        asked.append(name)
    assert len(asked) > 40


def arguments_of(function: Callable[..., Awaitable[Any]], given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: given[name]
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "tx"
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and (name in given or parameter.default is inspect.Parameter.empty)
    }


async def belongings(client: AsyncClient, db: Database, alice: Person) -> dict[str, Any]:
    """Something of Alice's for each kind of argument."""
    conversation = await begin(client, title=SECRET)
    said = await say(client, conversation, SECRET)
    turn_id, conversation_id = UUID(said["turn"]["id"]), UUID(conversation["id"])
    call = new_call("create_task", {"title": SECRET})
    async with db.transaction(alice.owner) as tx:
        task = await create_task(tx, owner=alice.owner, title=SECRET)
        seq = await take_seqs(tx, conversation_id, 1)
        turn = await find_turn(tx, turn_id, owner=alice.owner)
        assert turn is not None
        (started,) = await start_calls(
            tx, conversation_id=turn.conversation_id, turn_id=turn.id, seq=seq, calls=[call]
        )
        hash_, later = SECRET.encode(), datetime.now(UTC) + timedelta(hours=1)
        access = Access(SECRET, hash_)
        await open_session(
            tx, hash_, owner=alice.owner, session_id=access.session_id, expires_at=later
        )
        await add_ticket(
            tx,
            hash_,
            conversation_id,
            owner=alice.owner,
            access=access,
            access_expires_at=later,
        )
    return {
        "rows": [],
        "owner": alice.owner,
        "conversation_id": turn.conversation_id,
        "turn_id": turn.id,
        "turn": turn,
        "task_id": task.id,
        "message_id": turn.user_message_id,
        "user_message_id": turn.user_message_id,
        "tool_call_id": call.id,
        "calls": [call],
        "call": started.message,
        "decision": "deny",
        "reason": "changed",
        "worked_seconds": 1.0,
        "usage": {"input_tokens": 5},
        "rated": Rated(turn.user_message_id, turn.conversation_id, is_answer=True),
        "rating": "down",
        "comment": "changed",
        "said": "private",
        "messages.messages_between": {"after": 0, "last": 1000},
        "turns.turns_between": {"after": 0, "last": 1000},
        "titles.give_title": {"before": SECRET},
        "calls.close_calls": {"calls": [OpenCall(call.id, "running")]},
        "turn_ids": {turn.id},
        "ids": {turn.conversation_id},
        "worker_id": new_id(),
        "model": "echo",
        "key": "k",
        "request_hash": b"another",
        "answer": {"content": "x"},
        "text": None,
        "title": "changed",
        "content": "changed",
        "role": "user",
        "status": "cancelled",
        "result": "changed",
        "seq": 1000,
        "since": 0,
        "order": 1000,
        "limit": 10,
        "left": 0,
        "first_seq": 1000,
        "count": 1,
        "attempt": 0,
        "changes": 1,
        "spent": Spent(),
        "time": datetime.now(UTC),
        "id_hash": hash_,
        "ticket_hash": hash_,
        "hashes": {hash_},
        "session_id": SECRET,
        "access": access,
        "expires_at": later,
        "access_expires_at": later,
    }


async def everything_of(db: Database, person: Person) -> list[str]:
    async with db.snapshot(EVERYONE) as tx:
        return await rows_of(tx, person.owner)
