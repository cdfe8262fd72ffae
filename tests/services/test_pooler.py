"""Behind a pooler whose connections are another's after each transaction, and through TLS."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from shared.addresses import postgres_address
from shared.connection import EVERYONE, LOGIN, SERVER_SETTINGS, Whose
from shared.db import Database
from shared.errors import SettingsError, Unavailable
from shared.models import SERVICE_ROLE
from shared.room import refuse_without_room
from shared.settings import Settings
from shared.store.conversations import create_conversation
from tests.fixtures.parts import opened
from tests.fixtures.processes import ROOT
from tests.fixtures.settings import make_settings
from tests.services.conftest import Pooler

pytestmark = pytest.mark.anyio

CALLERS = 12
ROUNDS = 8
ASKED = text(
    "SELECT current_setting('parley.owner') AS owner, current_user AS role, "
    "current_setting('statement_timeout') AS patience, current_setting('jit') AS jit, "
    "current_setting('plan_cache_mode') AS plans, pg_backend_pid() AS pid, "
    "current_setting('transaction_timeout', true) AS most"
)
LEFT_BEHIND = """
SELECT current_setting('parley.owner', true), current_setting('role'), reset_val = setting,
  (SELECT count(*) FROM pg_prepared_statements)
FROM pg_settings WHERE name = ANY($1)
"""


@pytest.fixture
def pooled(pooler: Pooler, settings: Settings) -> Settings:
    url = pooler.url(urlsplit(settings.database_url.get_secret_value()).path[1:])
    return settings.model_copy(update={"database_url": SecretStr(url)})


async def test_no_setting_and_no_role_goes_over_from_one_owner_to_another(
    pooled: Settings, settings: Settings
) -> None:
    pids: set[int] = set()
    async with opened(settings) as direct, direct.transaction(LOGIN) as tx:
        # A backslash ends no name, whatever the connection takes it for.
        name = urlsplit(settings.database_url.get_secret_value()).path[1:]
        await tx.execute(text(f'ALTER DATABASE "{name}" SET standard_conforming_strings = off'))

    async def work(db: Database, owner: str) -> None:
        for _ in range(ROUNDS):
            async with db.transaction(owner) as tx:
                await create_conversation(tx, owner=owner)
            for whose in (owner, EVERYONE):
                pids.add(await expect_settings_of(db, whose))
            async with db.snapshot(owner) as tx:
                seen = (await tx.execute(text("SELECT DISTINCT user_id FROM conversations"))).all()
                assert [row.user_id for row in seen] == [owner]
            async with db.transaction(LOGIN) as tx:
                found = await tx.scalar(text("SELECT current_setting('parley.owner', true)"))
                assert not found
            async with db.search(owner) as tx:
                row = (await tx.execute(ASKED)).one()
                assert (row.owner, row.patience) == (owner, "2s")

    async with opened(pooled) as db:
        names = ("alice", "bo\\'b")
        await asyncio.gather(*(work(db, names[n % 2]) for n in range(CALLERS)))
    assert 1 < len(pids) <= 5
    await expect_nothing_left_behind(pooled, len(pids))


async def expect_settings_of(db: Database, owner: Whose) -> int:
    async with db.transaction(owner) as tx:
        row = (await tx.execute(ASKED)).one()
    assert row.owner == (owner if isinstance(owner, str) else owner.value)
    assert row.role == SERVICE_ROLE
    assert (row.patience, row.jit, row.plans) == ("5s", "off", "force_generic_plan")
    assert row.most in {"5500ms", None}
    pid: int = row.pid
    return pid


async def expect_nothing_left_behind(pooled: Settings, connections: int) -> None:
    """Somebody else, who comes to every connection that the pooler has."""
    dsn = postgres_address(pooled.database_url.get_secret_value()).dsn
    found: set[tuple[Any, ...]] = set()
    guests: list[Any] = []
    names = [name for name in SERVER_SETTINGS if name != "application_name"]
    for _ in range(connections):
        guest: Any = await asyncpg.connect(dsn, statement_cache_size=0)
        guests.append(guest)
        await guest.execute("BEGIN")
        for row in await guest.fetch(LEFT_BEHIND, [*names, "transaction_timeout"]):
            found.add(tuple(row.values()))
    for guest in guests:
        await guest.execute("COMMIT")
        await guest.close()
    # A setting that was ever named in a connection is empty there from then on.
    assert found <= {(None, "none", True, 0), ("", "none", True, 0)}


def test_migrations_run_through_it(pooler: Pooler, empty_database: str) -> None:
    fresh = pooler.url(urlsplit(empty_database).path[1:])
    settings = make_settings(fresh, "redis://nowhere")

    async def used() -> None:
        async with opened(settings) as db:
            await expect_settings_of(db, "alice")

    done = migrate(fresh)
    assert done.returncode == 0, done.stderr
    asyncio.run(used())


def test_an_address_that_is_none_is_told_in_a_sentence() -> None:
    done = migrate("postgresql://parley:hunter2@localhost/fresh?ssl_mode=require")
    assert done.returncode == 2
    assert done.stderr.startswith("DATABASE_URL: unknown parameter ssl_mode; known are host,")
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def migrate(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "migrations.run"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("changed", "lets_in"),
    [
        ({"sslmode": "verify-full"}, True),
        ({"sslmode": "require", "sslrootcert": ""}, True),
        # The certificate is made out to another name, which only verify-full looks at.
        ({"sslmode": "verify-ca", "host": "127.0.0.1"}, True),
        ({"sslmode": "verify-full", "host": "127.0.0.1"}, False),
        ({"sslmode": "verify-ca", "sslrootcert": "other"}, False),
        ({"sslmode": "verify-full", "sslcert": "", "sslkey": ""}, False),
        ({"sslmode": "disable"}, False),
    ],
)
async def test_who_the_server_is_and_who_we_are_is_looked_at_as_the_url_says(
    pooler: Pooler, settings: Settings, changed: dict[str, str], lets_in: bool
) -> None:
    if "other" in changed.values():
        changed = changed | {"sslrootcert": str(pooler.papers.other_authority)}
    name = urlsplit(settings.database_url.get_secret_value()).path[1:]
    url = SecretStr(pooler.url(name, **changed))
    async with opened(settings.model_copy(update={"database_url": url})) as db:
        if lets_in:
            async with db.snapshot(EVERYONE) as tx:
                assert await tx.scalar(text("SELECT 1")) == 1
        else:
            with pytest.raises(Unavailable):
                async with db.snapshot(EVERYONE):
                    pass


async def test_a_pooler_that_was_not_named_is_noticed_at_the_start(pooled: Settings) -> None:
    url = pooled.database_url.get_secret_value().replace("&pooler=transaction", "")
    unnamed = pooled.model_copy(update={"database_url": SecretStr(url)})
    with pytest.raises(SettingsError, match=r"end it with \?pooler=transaction"):
        await refuse_without_room(unnamed)
