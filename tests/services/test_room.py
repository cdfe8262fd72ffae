"""Whether Postgres has room for a process, asked as it starts."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cli.embedded import Service as Server
from shared.errors import SettingsError
from shared.room import refuse_without_room
from shared.settings import Settings
from tests.fixtures.processes import Starter
from tests.fixtures.servers import RunStatements, with_database
from tests.fixtures.settings import lonely_settings

pytestmark = pytest.mark.anyio

OF_THE_ROLE, OF_THE_DATABASE = 12, 14


@pytest.fixture(scope="module")
def narrow(admin: RunStatements, postgres: Server) -> Iterator[str]:
    """Where somebody who is no superuser has few connections."""
    admin(
        f"CREATE ROLE guest LOGIN CONNECTION LIMIT {OF_THE_ROLE}",
        f"CREATE DATABASE narrow CONNECTION LIMIT {OF_THE_DATABASE}",
    )
    yield with_database(postgres.url, "narrow").replace("//parley@", "//guest@")
    admin("DROP DATABASE narrow WITH (FORCE)", "DROP ROLE guest")


def wanting(url: str, connections: int) -> Settings:
    changed = {"database_url": SecretStr(url), "database_pool_size": connections}
    return lonely_settings().model_copy(update=changed)


@pytest.mark.parametrize("module", ["api.main", "worker.main"])
async def test_a_process_that_can_never_have_its_connections_says_so_and_ends(
    starter: Starter, narrow: str, module: str
) -> None:
    process = starter.fork(module, wanting(narrow, OF_THE_ROLE + 1))
    assert await process.ended(seconds=30) == 2
    told = process.log.read_text()
    assert f"would open {OF_THE_ROLE + 1} connections, and the role allows {OF_THE_ROLE}" in told
    assert "Traceback" not in told


async def test_the_limits_of_the_database_and_of_the_server_count_too(
    narrow: str, postgres: Server
) -> None:
    admin = await asyncpg.connect(with_database(postgres.url, "postgres"))
    await admin.execute("ALTER ROLE guest CONNECTION LIMIT -1")
    try:
        await refuse_without_room(wanting(narrow, OF_THE_DATABASE))
        with pytest.raises(SettingsError, match="the database allows 14 to all"):
            await refuse_without_room(wanting(narrow, OF_THE_DATABASE + 1))
        left = 200 - 3  # of which no process of ours may make use
        await refuse_without_room(wanting(postgres.url, left))
        with pytest.raises(SettingsError, match=f"the server allows {left} to all"):
            await refuse_without_room(wanting(postgres.url, left + 1))
    finally:
        await admin.execute(f"ALTER ROLE guest CONNECTION LIMIT {OF_THE_ROLE}")
        await admin.close()


async def test_what_those_hold_who_are_to_be_replaced_is_no_reason_to_stay_away(
    narrow: str,
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(OF_THE_ROLE - 2):
            old: Any = await asyncpg.connect(narrow)
            stack.push_async_callback(old.close)
        with capture_logs() as logs:
            await refuse_without_room(wanting(narrow, 5))
    assert [(entry["event"], entry["limit_of"], entry["held"]) for entry in logs] == [
        ("connections_scarce", "the role", OF_THE_ROLE - 2),
        ("connections_scarce", "the database", OF_THE_ROLE - 2),
    ]


async def test_a_postgres_that_comes_later_is_waited_for_elsewhere(narrow: str) -> None:
    with capture_logs() as logs:
        await refuse_without_room(lonely_settings())
    assert [entry["event"] for entry in logs] == ["postgres_not_asked"]
    url = narrow.replace(f"/{urlsplit(narrow).path[1:]}?", "/none_such?")
    with capture_logs() as logs:
        await refuse_without_room(wanting(url, 1))
    assert [entry["error"] for entry in logs] == ["InvalidCatalogNameError"]
