"""What is left of somebody after an erasure, looked for in every table there is.

The tables are asked for by their columns, so that one that is added later is looked into as well.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import msgspec
from sqlalchemy import text

from shared.db import Transaction
from shared.settings import Settings

NOT_OURS = "user_sessions"
"""Another application's table, as it is called where nothing else is said."""

# Longer than a service may take: nobody waits for this, and no index need help.
PATIENCE = text(
    """
    SELECT set_config('statement_timeout', '60000', true), CASE
      WHEN current_setting('server_version_num')::int >= 170000
      THEN set_config('transaction_timeout', '0', true) END
    """
)
# Of the catalogue and not of information_schema, which hides what one has no rights on.
COLUMNS = text(
    """
    SELECT c.relname AS name, quote_ident(c.relname) AS quoted_table,
      quote_ident(a.attname) AS quoted_column, a.attname = 'user_id' AS owner,
      has_table_privilege(c.oid, 'SELECT') AS readable
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT a.attisdropped AND c.relname <> ALL(CAST(:left_out AS text[]))
      AND current_schema() || '.' || c.relname <> ALL(CAST(:left_out AS text[]))
      AND (a.attname IN ('user_id', 'conversation_id')
        OR c.relname = 'conversations' AND a.attname = 'id')
    ORDER BY c.relname, a.attname
    """
)


class Column(msgspec.Struct, frozen=True):
    """Where an owner or a conversation is named."""

    name: str
    quoted_table: str
    quoted_column: str
    owner: bool
    readable: bool


async def be_patient(tx: Transaction) -> None:
    """This transaction may take its time."""
    tx.take_time()
    await tx.execute(PATIENCE)


def not_ours(settings: Settings) -> tuple[str, ...]:
    """Another application's tables, with a schema or without: neither written nor looked into."""
    named = settings.parley_sessions_table or NOT_OURS
    return tuple(dict.fromkeys((NOT_OURS, named)))


async def columns_to_search(
    tx: Transaction, *, left_out: Collection[str] = (NOT_OURS,)
) -> list[Column]:
    return [Column(*row) for row in await tx.all(COLUMNS, {"left_out": list(left_out)})]


async def count_left(
    tx: Transaction, column: Column, *, owner: str | None, ids: Collection[UUID]
) -> int:
    """Rows that name the owner, or one of the conversations."""
    asked = [owner] if column.owner else [str(found) for found in ids]
    count: int = await tx.scalar(
        text(
            f"SELECT count(*) FROM {column.quoted_table}"  # noqa: S608 - quoted by Postgres
            f" WHERE CAST({column.quoted_column} AS text) = ANY(CAST(:asked AS text[]))"
        ),
        {"asked": [name for name in asked if name is not None]},
    )
    return count
