"""Alembic's entry: connects, sees to it that one migrates at a time, and runs each migration."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from migrations.locks import again_while_locked, alone, say, wait_briefly
from shared import account_models
from shared.addresses import postgres_address
from shared.connection import DIALECT, connect_args
from shared.models import Base

assert account_models  # imported for its tables


def migrate(connection: Connection) -> None:
    """Each migration is a transaction with its own try at the locks; what is done stays done."""
    wait_briefly(connection)
    if context.config.attributes.get("may_be_newer") and is_newer(connection):
        return

    def run() -> None:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            on_version_apply=Told(),
        )
        context.run_migrations()

    again_while_locked(run, connection.rollback)
    connection.commit()


def is_newer(connection: Connection) -> bool:
    """Whether a later release has been here, as when the code is rolled back: then there is nothing
    to do, since that schema is good for us too (docs/upgrades.md).
    """
    found = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    ours = context.get_head_revision()
    if found is None or not isinstance(ours, str) or found <= ours:
        return False
    return say(f"The database is at {found}, newer than our {ours}: nothing to do")


class Told:
    """Says what was done, and how long each took: so long its locks were held."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(
        self,
        ctx: MigrationContext,  # noqa: ARG002 - Alembic names what it hands over
        step: MigrationInfo,  # noqa: ARG002
        heads: Collection[Any],
        run_args: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        took = time.monotonic() - self._began
        say(f"Migrated to {', '.join(heads) or 'nothing'} in {took * 1000:.0f} ms")
        self._began = time.monotonic()


async def run() -> None:
    url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
    engine = create_async_engine(
        DIALECT,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args=connect_args(postgres_address(url)),
    )
    async with alone(engine), engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
