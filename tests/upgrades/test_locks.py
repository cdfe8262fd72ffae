"""Migrations beneath those who read and write meanwhile."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from migrations import locks
from migrations.run import TRY_LATER, config, main, newest_revision, upgrade
from tests.fixtures.processes import ROOT
from tests.fixtures.waiting import until
from tests.upgrades.catalog import catalog

pytestmark = pytest.mark.anyio

INDEXED = """
from migrations.locks import create_index_beside_traffic, drop_index_beside_traffic

revision, down_revision = "9001", "{newest}"


def upgrade():
    create_index_beside_traffic("ix_tasks_title", "tasks", ["title"], where="title <> ''")


def downgrade():
    drop_index_beside_traffic("ix_tasks_title", "tasks")
"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_tasks_title')"
BUILDER = (
    "SELECT pid FROM pg_stat_activity WHERE query ~ '^[[:space:]]*(CREATE|DROP) INDEX CONCURRENTLY'"
    " AND datname = current_database() AND wait_event = 'virtualxid'"
)
REVISION = "SELECT version_num FROM alembic_version"
WRITE = "INSERT INTO tasks (id, user_id, title) VALUES (gen_random_uuid(), 'alice', 'x')"

Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Somebody else's connection. They wait for no lock for as long as we do in truth."""
    opened: list[Any] = []

    async def connect() -> Any:
        connection = await asyncpg.connect(database_url, server_settings={"lock_timeout": "2s"})
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        await connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same patience, of which a test need not see the end."""
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(locks, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(locks, "TRIES", 3)


@pytest.mark.usefixtures("impatient")
async def test_a_migration_that_gets_no_lock_gives_up_and_nobody_waits_behind_it(
    database_url: str,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await asyncio.to_thread(command.downgrade, config(database_url), "0003")
    before = await catalog(database_url)
    backup, reader = await connect(), await connect()
    monkeypatch.setenv("DATABASE_URL", database_url)
    # The last table that the migration comes to: it has locks of others by then.
    async with backup.transaction():
        await backup.execute("LOCK TABLE browser_sessions IN ACCESS SHARE MODE")
        migrating = asyncio.create_task(asyncio.to_thread(main))
        while not migrating.done():
            for table in before["tables"]:
                await reader.fetch(f"SELECT FROM {table.split()[0]} LIMIT 1")
            await asyncio.sleep(0)
        assert await migrating == TRY_LATER
    said = capsys.readouterr().err
    assert "(try 3 of 3)" in said
    assert "A table was locked by somebody else" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert await reader.fetchval(REVISION) == "0003"
    assert await catalog(database_url) == before


@pytest.mark.usefixtures("impatient")
async def test_it_comes_again_and_goes_on_once_the_lock_is_free(
    database_url: str, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(command.downgrade, config(database_url), "0003")
    backup, said = await connect(), ""

    def has_given_up_once() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "(try 1 of 3)" in said

    async with backup.transaction():
        await backup.execute("LOCK TABLE turns IN ACCESS SHARE MODE")
        migrating = asyncio.create_task(asyncio.to_thread(upgrade, database_url))
        await until(has_given_up_once)
    await migrating
    assert await backup.fetchval(REVISION) == newest_revision()


@pytest.fixture
def one_more(tmp_path: Path) -> Path:
    """Settings of Alembic with one migration more, which builds an index."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "9001_index.py").write_text(INDEXED.format(newest=newest_revision()))
    ours = Path(locks.__file__).parent
    ini = tmp_path / "alembic.ini"
    ini.write_text(
        f"[alembic]\nscript_location = {ours}\npath_separator = os\n"
        f"version_locations = {ours / 'versions'}{os.pathsep}{tmp_path / 'more'}\n"
    )
    return ini


async def test_an_index_is_built_beside_traffic_by_one_and_whole_in_the_end(
    database_url: str, connect: Connect, one_more: Path, tmp_path: Path
) -> None:
    """The first who builds it is stopped in the middle; the second waited for the first, and comes
    upon what it left.
    """
    writer, other = await connect(), await connect()
    told = tmp_path / "second.log"

    def first(to: Callable[[Config, str], None], revision: str) -> asyncio.Task[None]:
        found = Config(one_more)
        found.attributes["database_url"] = database_url
        return asyncio.create_task(asyncio.to_thread(to, found, revision))

    async with writer.transaction():
        await writer.execute(WRITE)
        building = first(command.upgrade, "head")
        builder = await until(lambda: other.fetchval(BUILDER))
        await other.execute(WRITE)
        with told.open("wb") as output:
            second = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alembic", "-c", str(one_more), "upgrade", "head"),
                env=os.environ | {"DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)},
                stderr=output,
            )
        await until(lambda: "Another migration" in told.read_text())
        assert await other.fetchval(VALID) is False
        await other.execute("SELECT pg_cancel_backend($1)", builder)
        with pytest.raises(DBAPIError):
            await building
        assert await other.fetchval(REVISION) == newest_revision()
        await until(lambda: other.fetchval(BUILDER))
        await other.execute(WRITE)
    async with asyncio.timeout(20):
        assert await second.wait() == 0
    assert await other.fetchval(VALID) is True
    assert await other.fetchval(REVISION) == "9001"
    await first(command.downgrade, "-1")
    assert await other.fetchval(VALID) is None


async def test_an_older_release_leaves_a_newer_schema_alone(
    database_url: str, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = await connect()
    await operator.execute("UPDATE alembic_version SET version_num = '9999'")
    before = await catalog(database_url)
    await asyncio.to_thread(upgrade, database_url)
    assert "9999, newer than our" in capsys.readouterr().err
    assert await catalog(database_url) == before


async def test_without_postgres_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://parley:hidden@/parley?host={tmp_path}")
    assert await asyncio.to_thread(main) == TRY_LATER
    said = capsys.readouterr().err
    assert said.startswith("Postgres does not answer")
    assert "hidden" not in said
