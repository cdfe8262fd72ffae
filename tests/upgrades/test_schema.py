"""The migrations: each can be taken back, and all of them make what the models say."""

from __future__ import annotations

import asyncio
import re

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from migrations.run import config, newest_revision, upgrade
from shared import account_models
from shared.addresses import postgres_address
from shared.connection import DIALECT, connect_args
from shared.models import Base
from tests.upgrades.catalog import OF_MODELS, Catalog, catalog

assert account_models  # imported for its tables


def revisions() -> list[str]:
    """From the oldest on."""
    found = ScriptDirectory.from_config(config()).walk_revisions()
    return [script.revision for script in reversed(list(found))]


def test_revisions_are_numbers_that_grow_one_by_one() -> None:
    """Whether a schema is newer than another is told by comparing them."""
    found = revisions()
    assert all(re.fullmatch(r"\d{4}", revision) for revision in found)
    assert [int(revision) for revision in found] == list(range(1, len(found) + 1))


def test_the_models_say_what_the_migrations_make(database_url: str, empty_database: str) -> None:
    command.check(config(database_url))
    asyncio.run(create_all(empty_database))
    migrated, modelled = (asyncio.run(catalog(url)) for url in (database_url, empty_database))
    for kind in OF_MODELS:
        assert sorted(map(ordered, migrated[kind])) == sorted(map(ordered, modelled[kind]))


def ordered(definition: str) -> str:
    """The members of a list may stand in any order."""
    return re.sub(r"ARRAY\[(.*?)\]", lambda found: str(sorted(found[1].split(", "))), definition)


async def create_all(url: str) -> None:
    engine = create_async_engine(DIALECT, connect_args=connect_args(postgres_address(url)))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


def without_grants(found: Catalog) -> Catalog:
    return {kind: rows for kind, rows in found.items() if kind != "grants"}


def test_every_migration_can_be_taken_back_and_made_again(empty_database: str) -> None:
    """And leaves nothing behind."""
    before = asyncio.run(catalog(empty_database))
    for revision in revisions():
        upgrade(empty_database, revision)
        after = asyncio.run(catalog(empty_database))
        assert after != before
        command.downgrade(config(empty_database), "-1")
        taken_back = asyncio.run(catalog(empty_database))
        # Code from before the services' role never takes it, so what it may do can stay.
        assert without_grants(taken_back) == without_grants(before)
        upgrade(empty_database, revision)
        assert asyncio.run(catalog(empty_database)) == after
        assert not after["invalid indexes"]
        before = after
    assert revisions()[-1] == newest_revision()
