"""What a readiness check asks of the database."""

from __future__ import annotations

from sqlalchemy import text

from shared.db import Transaction


async def schema_revision(tx: Transaction) -> str | None:
    """The migration the database is at; None if it has never been migrated."""
    if await tx.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = await tx.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


async def answers(tx: Transaction) -> bool:
    return bool(await tx.scalar(text("SELECT true")))
