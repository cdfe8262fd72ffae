"""What `parley verify` does to the database and asks of it as a whole. No service calls this."""

from __future__ import annotations

from sqlalchemy import text

from shared.db import Transaction


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
    statement = text(
        """
        SELECT 'conversation ' || c::text FROM conversations c WHERE c.user_id = :owner
        UNION ALL
        SELECT 'turn ' || t::text FROM turns t WHERE t.user_id = :owner
        UNION ALL
        SELECT 'task ' || k::text FROM tasks k WHERE k.user_id = :owner
        UNION ALL
        SELECT 'message ' || m::text FROM messages m
          JOIN conversations c ON c.id = m.conversation_id WHERE c.user_id = :owner
        ORDER BY 1
        """
    )
    return [row[0] for row in await tx.all(statement, {"owner": owner})]
