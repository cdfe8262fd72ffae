"""What the sweep's question costs beside a million finished turns: `python -m bench.sweep`.

Every worker asks it every second (`shared/store/waiting.py: conversations_to_run`). Target: less
than 5 ms, by an index, also where Postgres has never counted the rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from bench.figures import database, median_and_p99, milliseconds, settings_for
from shared.connection import EVERYONE
from shared.db import Database, Transaction
from shared.store.waiting import conversations_to_run

ROUNDS = 200
LIMIT = 50
EXTRA = ("-c", "fsync=off", "-c", "autovacuum=off", "-c", "max_wal_size=8GB")

CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title, last_seq)
    SELECT md5('c' || n)::uuid, 'user-' || n % 1000, 'bench', 1000000
    FROM generate_series(0, :conversations - 1) n
"""
FINISHED = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       attempt, created_at, started_at, finished_at)
    SELECT md5('t' || n)::uuid, md5('c' || n % :conversations)::uuid, 'user-' || n % 1000,
           md5('m' || n)::uuid, n / :conversations, n / :conversations, 'completed', 1,
           now() - interval '30 days', now() - interval '30 days', now() - interval '30 days'
    FROM generate_series(0, :turns - 1) n
"""
# One conversation in four has a second turn behind the first.
ACTIVE = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       attempt, position, lease_owner, created_at, started_at)
    SELECT md5('a' || n || status)::uuid, md5('c' || n)::uuid, 'user', md5('a' || n)::uuid,
           seq, seq, status, (status = 'running')::int, position,
           CASE WHEN status = 'running' THEN md5('w' || n % 4)::uuid END,
           now() - interval '10 seconds', CASE WHEN status = 'running' THEN now() END
    FROM generate_series(0, :active - 1) n,
         LATERAL (VALUES ('running', 500000, NULL::int), ('queued', 500001, 1))
                 AS kind (status, seq, position)
    WHERE CASE status WHEN 'running' THEN n % 2 = 0 ELSE n % 2 = 1 OR n % 8 = 0 END
"""
# Turns that waited and ended since the last vacuum: as many as make Postgres begin one by default.
PASSED = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       position, created_at)
    SELECT md5('p' || n)::uuid, md5('c' || n % :conversations)::uuid, 'user', md5('p' || n)::uuid,
           600000 + n, 600000 + n, 'queued', 1, now()
    FROM generate_series(0, :passed - 1) n
"""
WORKERS = """
    INSERT INTO workers (id, lease_until)
    SELECT md5('w' || n)::uuid, now() + interval '1 hour' FROM generate_series(0, 3) n
"""


class Asked(Exception):
    """Carries the sweep's statement out of the function that builds it."""

    def __init__(self, statement: Any) -> None:
        super().__init__()
        self.statement = statement


class Listening(Transaction):
    """Runs nothing."""

    def __init__(self) -> None:
        pass

    async def execute(self, statement: Any, parameters: Any = None) -> Any:  # noqa: ARG002
        raise Asked(statement)


async def the_statement() -> str:
    """The sweep's SQL with its values in it, as `EXPLAIN` wants it."""
    try:
        await conversations_to_run(Listening(), limit=LIMIT)
    except Asked as asked:
        dialect: Any = postgresql.dialect()  # pyright: ignore[reportUnknownMemberType]
        compiled = asked.statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        return str(compiled)
    raise AssertionError("it asked nothing")


async def measure(db: Database) -> tuple[str, str, str, str]:
    """Median and 99th percentile as a worker sees them, and how Postgres goes about it."""
    times: list[float] = []
    found = 0
    for _ in range(ROUNDS):
        async with db.transaction(EVERYONE) as tx:
            began = time.perf_counter()
            found = len(await conversations_to_run(tx, limit=LIMIT))
            times.append(time.perf_counter() - began)
    async with db.transaction(EVERYONE) as tx:
        explained = await tx.scalar(
            text(f"EXPLAIN (FORMAT JSON) {await the_statement()}".replace(":", r"\:"))
        )
    plan: list[dict[str, Any]] = explained if explained[0] != "[" else json.loads(explained)
    median, p99 = median_and_p99(times)
    return milliseconds(median), milliseconds(p99), str(found), ", ".join(scans(plan[0]["Plan"]))


def scans(node: dict[str, Any]) -> list[str]:
    """How each table is read, the outermost first."""
    own: list[str] = []
    if "Relation Name" in node or "Index Name" in node:
        where = node.get("Index Name") or node["Relation Name"]
        own = [f"{node['Node Type']} {where}"]
    return own + [scan for inner in node.get("Plans", ()) for scan in scans(inner)]


async def run(url: str, *, turns: int, conversations: int, active: int) -> Table:
    db = Database(settings_for(url))
    table = Table("statistics", "waiting or running", "median ms", "p99 ms", "found", "plan")
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        await tx.execute(text(CONVERSATIONS), {"conversations": conversations})
        await tx.execute(text(FINISHED), {"conversations": conversations, "turns": turns})
        await tx.execute(text(WORKERS))
    table.add_row("none", "0", *await measure(db))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text(ACTIVE), {"active": active})
    table.add_row("none", str(active), *await measure(db))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        await tx.execute(text("ANALYZE"))
    table.add_row("fresh", str(active), *await measure(db))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE workers SET lease_until = now() - interval '1 s'"))
    table.add_row("fresh, workers dead", str(active), *await measure(db))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("DELETE FROM turns WHERE status IN ('queued', 'running')"))
    table.add_row("stale, none left", "0", *await measure(db))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        passed = {"conversations": conversations, "passed": turns // 5}
        await tx.execute(text(PASSED), passed)
        await tx.execute(
            text("UPDATE turns SET status = 'completed', position = NULL WHERE status = 'queued'")
        )
    table.add_row(f"{turns // 5} turns unvacuumed", "0", *await measure(db))
    await db.close()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--active", type=int, default=400)
    asked = parser.parse_args()
    with database(*EXTRA) as url:
        table = asyncio.run(run(url, **vars(asked)))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
