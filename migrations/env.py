"""Alembic's entry: connects, takes a lock so that only one migrates, and runs."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared import account_models
from shared.addresses import postgres_address
from shared.connection import DIALECT, connect_args
from shared.models import Base

assert account_models  # imported for its tables
# Any number; the same in every release, so that two that start at once wait for each other.
MIGRATION_LOCK = 7_072_657_962_033_241_729


def migrate(connection: Connection) -> None:
    """A migration that can't get its table lock soon gives up: it must not queue all traffic."""
    connection.execute(text(f"select pg_advisory_xact_lock({MIGRATION_LOCK})"))
    connection.execute(text("set local lock_timeout = '5s'"))
    context.configure(connection=connection, target_metadata=Base.metadata)
    context.run_migrations()


async def run() -> None:
    url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
    engine = create_async_engine(
        DIALECT,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args=connect_args(postgres_address(url)),
    )
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
