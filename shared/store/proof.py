"""What `parley verify` does to the database and asks of it as a whole. No service calls this."""

from __future__ import annotations

from sqlalchemy import text

from shared.db import Transaction

OWNED = (
    *("conversations", "turns", "messages", "tasks", "idempotency_keys"),
    *("feedback", "approvals", "token_usage", "browser_sessions", "stream_tickets"),
)


async def end_all_connections(tx: Transaction) -> None:
    """All but our own, as a failing network or an impatient operator would."""
    await tx.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    )


async def rows_of(tx: Transaction, owner: str) -> list[str]:
    """Every row of the owner's as text: equal lists mean that nothing at all was written."""
    query = "SELECT '{0} ' || r::text FROM {0} r WHERE r.user_id = :owner"
    statement = " UNION ALL ".join(query.format(table) for table in OWNED)
    return [row[0] for row in await tx.all(text(statement + " ORDER BY 1"), {"owner": owner})]
