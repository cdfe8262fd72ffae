"""What a process asks of the database before it relies on it."""

from __future__ import annotations

from sqlalchemy import text

from shared.connection import LOGIN
from shared.db import Database, Transaction
from shared.models import SCHEMA_REVISION


async def schema_revision(tx: Transaction) -> str | None:
    """The migration the database is at; None if it has never been migrated."""
    if await tx.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = await tx.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def is_enough(revision: str | None) -> bool:
    """Whether this release can work on it: on its own schema and on a newer one, since migrations
    take away only what the release before no longer uses (docs/upgrades.md).
    """
    return revision is not None and revision >= SCHEMA_REVISION


async def is_migrated(db: Database) -> bool:
    """Raises Unavailable where nobody can tell."""
    async with db.snapshot(LOGIN) as tx:
        return is_enough(await schema_revision(tx))


async def answers(tx: Transaction) -> bool:
    return bool(await tx.scalar(text("SELECT true")))
