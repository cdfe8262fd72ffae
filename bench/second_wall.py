"""What row-level security costs a request: `python -m bench.second_wall`.

The same requests on two databases of one server, in turns: one as it is migrated; one without
policies, where a transaction neither takes the services' role nor names its owner. The times are
of the whole transaction, from BEGIN to COMMIT. Target: at most 10 % more.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.figures import database, median_and_p99, milliseconds, settings_for
from migrations.run import upgrade
from shared.connection import LOGIN, Whose
from shared.db import Database, Transaction
from shared.models import Base
from shared.store.conversations import (
    find_conversation,
    list_conversations,
    take_seqs_for_submission,
)
from shared.store.messages import get_chat_history
from shared.store.replay import replay
from shared.store.submission import queue_message

ROUNDS = 1500
OWNERS = 200
CONVERSATIONS = 20
MESSAGES = 50
Work = Callable[[Transaction, str, UUID], Awaitable[object]]


async def say(tx: Transaction, owner: str, conversation_id: UUID) -> None:
    taken = await take_seqs_for_submission(tx, conversation_id, owner=owner, content="hello")
    assert taken is not None
    await queue_message(
        tx, conversation_id=conversation_id, owner=owner, content="hello", seq=taken[0]
    )


async def read(tx: Transaction, owner: str, conversation_id: UUID) -> None:
    assert await find_conversation(tx, conversation_id, owner=owner)
    await get_chat_history(tx, conversation_id, limit=50)


async def poll(tx: Transaction, owner: str, conversation_id: UUID) -> None:
    assert await replay(tx, conversation_id, owner=owner, since=MESSAGES, limit=50)


async def show_list(tx: Transaction, owner: str, _: UUID) -> None:
    await list_conversations(tx, owner=owner, limit=20)


WORK: dict[str, Work] = {
    "say something": say,
    "newest 50 messages": read,
    "poll, nothing new": poll,
    "list of 20 conversations": show_list,
}
FILL = (
    """
    INSERT INTO conversations (id, user_id, title, last_seq, message_count)
    SELECT md5(o || ' ' || c)::uuid, 'user-' || o, 'bench',
           cast(:messages as int), cast(:messages as int)
    FROM generate_series(1, cast(:owners as int)) o,
         generate_series(1, cast(:conversations as int)) c
    """,
    """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status)
    SELECT md5('t' || id)::uuid, id, user_id, id, 1, 1, 'completed' FROM conversations
    """,
    """
    INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq, role, content,
                          status)
    SELECT md5(c.id::text || n)::uuid, c.id, c.user_id, md5('t' || c.id)::uuid, n, n, 'user',
           'what a bench says ' || n, 'completed'
    FROM conversations c, generate_series(1, cast(:messages as int)) n
    """,
    "VACUUM ANALYZE",
)


async def fill(db: Database, *, walled: bool) -> None:
    async with db.engine.connect() as connection:
        for statement in FILL:
            given = {"owners": OWNERS, "conversations": CONVERSATIONS, "messages": MESSAGES}
            used = {name: n for name, n in given.items() if f":{name}" in statement}
            await connection.execute(text("SET statement_timeout = 0"))
            await connection.execute(text("SET transaction_timeout = 0"))
            await connection.execute(text(statement), used)
        if not walled:
            for table in Base.metadata.tables:
                await connection.execute(text(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"))


async def measure(walls: dict[bool, Database], work: Work, rounds: int) -> dict[bool, list[float]]:
    """By whether the wall stands; both in each round, the first of them changing."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for n in range(rounds):
        owner = f"user-{n % OWNERS + 1}"
        async with walls[True].snapshot(owner) as tx:
            listed = await list_conversations(tx, owner=owner, limit=1)
        for walled in (True, False) if n % 2 else (False, True):
            whose: Whose = owner if walled else LOGIN
            began = time.perf_counter()
            async with walls[walled].transaction(whose) as tx:
                await work(tx, owner, listed[0].id)
            times[walled].append(time.perf_counter() - began)
    return times


async def run(urls: dict[bool, str], rounds: int) -> None:
    walls = {walled: Database(settings_for(url)) for walled, url in urls.items()}
    for walled, db in walls.items():
        await fill(db, walled=walled)
    table = Table(title=f"a request's transaction, ms, {rounds} rounds", title_justify="left")
    for column in ("request", "without", "p99", "with", "p99", "ratio of medians"):
        table.add_column(column, justify="left" if column == "request" else "right")
    for name, work in WORK.items():
        await measure(walls, work, rounds // 10)
        times = await measure(walls, work, rounds)
        without, with_it = median_and_p99(times[False]), median_and_p99(times[True])
        figures = (*map(milliseconds, (*without, *with_it)), f"{with_it[0] / without[0]:.3f}")
        table.add_row(name, *figures)
    Console(width=100).print(table)
    for db in walls.values():
        await db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with database() as walled:
        bare = urlunsplit(urlsplit(walled)._replace(path="/bare"))
        asyncio.run(create(walled))
        upgrade(bare)
        asyncio.run(run({True: walled, False: bare}, rounds))


async def create(url: str) -> None:
    db = Database(settings_for(url))
    async with db.engine.connect() as connection:
        await connection.execute(text("CREATE DATABASE bare"))
    await db.close()


if __name__ == "__main__":
    main()
