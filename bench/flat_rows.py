"""The rows that `bench.flat` asks about: kinds of conversations, and databases full of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from bench.figures import settings_for
from shared.connection import EVERYONE
from shared.db import Database

CHANGES_OF_A_TURN = 6
"""Said, queued, asked for a tool, the tool's result, answered, ended."""

# Like ours they sort by time, so an index of them grows at its end.
ID = """
    CREATE FUNCTION bench_id(what text, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql RETURN
    ('0190' || lpad(to_hex(n), 8, '0') || '7' || left(md5(what || n), 3) || '8'
     || right(md5(what || n), 15))::uuid
"""
# The list's order is not the order in which they were begun.
CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title, last_seq, message_count, updated_at)
    SELECT bench_id('conversation' || :name, n), :name || '-' || n % :owners, :name,
           cast(:last_seq as bigint), cast(:message_count as int),
           now() - interval '30 days' - hashint8(n) % 1000000 * interval '1 s'
    FROM generate_series(0, cast(:conversations as bigint) - 1) n
"""
# In the order of time: neighbours in the table are of different conversations.
TURNS = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       attempt, model, created_at, started_at, first_token_at, finished_at)
    SELECT bench_id('turn' || :name, n), bench_id('conversation' || :name, n % :conversations),
           :name || '-' || n % :conversations % :owners, bench_id('1' || :name, n),
           n / :conversations * 6 + 2, n / :conversations * 6 + 6, 'completed', 1, 'bench',
           at, at, at, at
    FROM generate_series(0, cast(:turns as bigint) * :conversations - 1) n,
         LATERAL (SELECT now() - interval '30 days' + n * interval '0.1 s') AS t (at)
"""
MESSAGES = """
    INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq, role, content,
                          status, tool_calls, tool_call_id, created_at)
    SELECT bench_id(kth || :name, n), bench_id('conversation' || :name, n % :conversations),
           :name || '-' || n % :conversations % :owners, bench_id('turn' || :name, n),
           n / :conversations * 6 + kth, n / :conversations * 6 + kth, role,
           CASE role WHEN 'tool' THEN '{"done": ' || n || '}'
                     ELSE 'what is said in a bench about ' || n END,
           'completed',
           CASE kth WHEN 3 THEN jsonb_build_array(jsonb_build_object(
                'id', 'call_' || n, 'tool_name', 'bench', 'arguments', jsonb_build_object())) END,
           CASE kth WHEN 4 THEN 'call_' || n END,
           now() - interval '30 days' + n * interval '0.1 s' + kth * interval '0.01 s'
    FROM generate_series(0, cast(:turns as bigint) * :conversations - 1) n,
         (VALUES (1, 'user'), (3, 'assistant'), (4, 'tool'), (5, 'assistant')) AS said (kth, role)
    WHERE kth IN (1, 5) OR :tools
"""
# One in two waits, one in two runs under a worker that lives.
ACTIVE = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       attempt, position, lease_owner, created_at, started_at)
    SELECT bench_id('active', n), id, user_id, id, 2, 2,
           CASE n % 2 WHEN 0 THEN 'queued' ELSE 'running' END, n % 2,
           CASE n % 2 WHEN 0 THEN 1 END, CASE n % 2 WHEN 1 THEN bench_id('worker', 1) END,
           now() - interval '10 s', CASE n % 2 WHEN 1 THEN now() END
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n
          FROM conversations WHERE title = :name) AS busy
"""
WORKER = """
    INSERT INTO workers (id, lease_until)
    VALUES (bench_id('worker', 1), now() + interval '1 day')
"""
FOUND = "SELECT id, user_id FROM conversations WHERE title = :name ORDER BY id LIMIT 1000"
MIDDLE = """
    SELECT updated_at, id FROM conversations WHERE title = :name
    ORDER BY updated_at DESC, id DESC OFFSET :skipped LIMIT 50
"""
BEFORE_ALL = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0))
UNDO = (
    "DELETE FROM messages WHERE conversation_id = :id AND seq > :seq",
    "DELETE FROM turns WHERE conversation_id = :id AND seq > :seq",
    """
    UPDATE conversations
    SET title = :name, last_seq = :seq, changed_seq = 0, message_count = :message_count
    WHERE id = :id
    """,
)
FREELY = ("statement_timeout = 0", "transaction_timeout = 0", "session_replication_role = replica")


@dataclass(frozen=True)
class Kind:
    """Conversations that are alike, each with so many `turns`, all of which have ended."""

    name: str
    conversations: int
    turns: int = 0
    owners: int = 1
    tools: bool = True
    """Four messages a turn, else two."""

    @property
    def last_seq(self) -> int:
        return self.turns * CHANGES_OF_A_TURN

    @property
    def message_count(self) -> int:
        return self.turns * (4 if self.tools else 2)


FEW = Kind("few", 1, turns=25)
MANY = Kind("many", 1, turns=2_500)
SHORT_LISTS = Kind("short list", 21 * 500, owners=500)
NEW = Kind("new", 100, owners=100)
BUSY = Kind("busy", 400, owners=50)
OWN_TURNS = 1_000


@dataclass(frozen=True)
class Size:
    turns: int = 200_000
    """That have ended, of all."""
    conversations: int = 4_000
    """That most of them are spread over."""
    claimed: int = 20
    """Conversations with a thousand turns of their own."""
    listed: int = 100_000
    rounds: int = 300
    uncounted_rounds: int = 60
    patience: int = 4
    """Seconds for a question's rounds, at most."""

    @property
    def long_list(self) -> Kind:
        return Kind("long list", self.listed)

    @property
    def young(self) -> Kind:
        """Enough for a whole context."""
        return Kind("own", self.claimed, turns=25, owners=self.claimed)

    @property
    def old(self) -> Kind:
        return replace(self.young, turns=OWN_TURNS)

    @property
    def much(self) -> tuple[Kind, ...]:
        rest = (self.turns - self.claimed * OWN_TURNS) // self.conversations
        crowd = Kind("crowd", self.conversations, turns=rest, owners=1_000, tools=False)
        return crowd, self.old, FEW, MANY, SHORT_LISTS, self.long_list, *self.none

    @property
    def none(self) -> tuple[Kind, ...]:
        return NEW, BUSY


@dataclass(frozen=True, eq=False)
class Place:
    """Where something is asked."""

    db: Database
    kind: Kind
    conversations: list[tuple[UUID, str]]
    """Each with its owner."""
    middle: list[tuple[datetime, UUID]]
    """Keys of the list, from its middle; of a short one, the key before all."""

    def nth(self, n: int) -> tuple[UUID, str]:
        return self.conversations[n % len(self.conversations)]


async def place_of(db: Database, kind: Kind) -> Place:
    async with db.snapshot(EVERYONE) as tx:
        found = await tx.all(text(FOUND), {"name": kind.name})
        middle = await tx.all(text(MIDDLE), {"name": kind.name, "skipped": kind.conversations // 2})
    keys = [(row.updated_at, row.id) for row in middle] if kind.owners == 1 else [BEFORE_ALL]
    return Place(db, kind, [(row.id, row.user_id) for row in found], keys)


async def fill(url: str, kinds: tuple[Kind, ...]) -> None:
    async with freely(url) as run:
        await run(ID)
        await run(WORKER)
        for kind in kinds:
            given = vars(kind) | {"last_seq": kind.last_seq, "message_count": kind.message_count}
            tables = (CONVERSATIONS, TURNS, MESSAGES) if kind.turns else (CONVERSATIONS,)
            await asyncio.gather(*(run(statement, **given) for statement in tables))


@asynccontextmanager
async def freely(url: str) -> AsyncGenerator[Callable[..., Awaitable[None]]]:
    """Runs statements as the superuser, however long they take, on connections of their own:
    nothing that refers to another row looks it up.
    """
    db = Database(settings_for(url))

    async def run(statement: str, **given: object) -> None:
        async with db.engine.connect() as connection:
            for setting in FREELY:
                await connection.execute(text(f"SET {setting}"))
            await connection.execute(text(statement), used_in(statement, given))

    yield run
    await db.close()


@asynccontextmanager
async def active(*databases: Database) -> AsyncGenerator[None]:
    """There, 400 turns wait or run meanwhile."""
    for db in databases:
        async with db.transaction(EVERYONE) as tx:
            await tx.execute(text(ACTIVE), {"name": BUSY.name})
    yield
    for db in databases:
        async with db.transaction(EVERYONE) as tx:
            await tx.execute(text("DELETE FROM turns WHERE status IN ('queued', 'running')"))


async def undo(place: Place, conversation_id: UUID) -> None:
    """What was said since it was filled."""
    kind = place.kind
    given = {
        "id": conversation_id,
        "name": kind.name,
        "seq": kind.last_seq,
        "message_count": kind.message_count,
    }
    async with place.db.transaction(EVERYONE) as tx:
        for statement in UNDO:
            await tx.execute(text(statement), used_in(statement, given))


def used_in(statement: str, given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if f":{name}" in statement}
