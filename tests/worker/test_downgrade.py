"""The schema is taken back and brought forward again while turns await approval."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
from alembic import command

from migrations.run import config, upgrade
from tests.fixtures.servers import run_sql

ALICES, BOBS = UUID(int=1), UUID(int=2)
ASKS, BEHIND, APPROVED = UUID(int=11), UUID(int=12), UUID(int=13)
ID = "gen_random_uuid()"
ROWS = f"""
    INSERT INTO conversations (id, user_id, title, last_seq) VALUES
      ('{ALICES}', 'alice', 'x', 9), ('{BOBS}', 'bob', 'x', 3);
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
      position, attempt, error) VALUES
      ('{ASKS}', '{ALICES}', 'alice', {ID}, 2, 8, 'awaiting_approval', NULL, 1, '{{}}'),
      ('{BEHIND}', '{ALICES}', 'alice', {ID}, 9, 9, 'queued', 1, 0, NULL),
      ('{APPROVED}', '{BOBS}', 'bob', {ID}, 1, 3, 'running', NULL, 1, NULL);
    INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq, role,
      content, status, tool_call_id) VALUES
      ({ID}, '{ALICES}', 'alice', '{ASKS}', 4, 4, 'tool', '', 'awaiting_approval', 'a'),
      ({ID}, '{ALICES}', 'alice', '{ASKS}', 5, 5, 'tool', '', 'running', 'b'),
      ({ID}, '{ALICES}', 'alice', '{ASKS}', 6, 7, 'tool', '1', 'completed', 'c'),
      ({ID}, '{BOBS}', 'bob', '{APPROVED}', 2, 2, 'tool', '', 'awaiting_approval', 'd');
"""


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    async def fetch() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_turns_that_await_approval_end_as_cancelled_and_their_calls_have_results(
    database_url: str,
) -> None:
    run_sql(database_url, ROWS)
    command.downgrade(config(database_url), "0002")
    upgrade(database_url)
    assert rows(
        database_url,
        "SELECT id, status, position, changed_seq, finished_at IS NOT NULL, error, lease_owner"
        " FROM turns ORDER BY id",
    ) == [
        (ASKS, "cancelled", None, 12, True, None, None),
        (BEHIND, "queued", 1, 9, False, None, None),
        (APPROVED, "cancelled", None, 5, True, None, None),
    ]
    calls = rows(
        database_url,
        "SELECT tool_call_id, status, changed_seq, content FROM messages ORDER BY tool_call_id",
    )
    assert [call[:3] for call in calls] == [
        ("a", "cancelled", 10),
        ("b", "cancelled", 11),
        ("c", "completed", 7),
        ("d", "cancelled", 4),
    ]
    codes = [json.loads(call[3])["error"]["code"] for call in calls if call[0] != "c"]
    assert codes == ["not_run", "outcome_unknown", "not_run"]
    found = rows(database_url, "SELECT last_seq FROM conversations ORDER BY id")
    assert found == [(12,), (5,)]
