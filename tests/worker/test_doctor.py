"""`parley doctor` on Postgres, Redis and the rows: each fault is made, and told with its remedy."""

# asyncpg and redis-py say nothing of their types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from cli.data_dir import DataDir
from cli.doctor_findings import Finding, State, exit_code
from cli.doctor_postgres import NEEDS_SCHEMA, examine_postgres
from cli.doctor_redis import examine_redis
from cli.embedded import start_postgres
from cli.postgres import Postgres
from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from shared.jobs import Jobs
from shared.models import SCHEMA_REVISION
from shared.settings import Settings
from shared.store.workers import renew_lease
from tests.fixtures.servers import FAST, folder, with_database
from tests.fixtures.settings import make_settings
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

NOWHERE = "redis://127.0.0.1:1/0"
LEASE = timedelta(seconds=6)
Sql = Callable[[str], Awaitable[None]]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    """Every one that isn't ok says what to do, or what it depends on."""
    for finding in findings:
        expected = finding.state in (State.warning, State.failure)
        assert bool(finding.remedy) == expected, finding
    return {finding.check: finding for finding in findings}


async def postgres_of(settings: Settings) -> dict[str, Finding]:
    return by_name(await examine_postgres(settings))


async def redis_of(url: str) -> dict[str, Finding]:
    return by_name(await examine_redis(make_settings("postgresql://nobody@127.0.0.1:1/none", url)))


@pytest.fixture
def sql(database_url: str) -> Sql:
    """As the administrator."""

    async def run(statements: str) -> None:
        connection = await asyncpg.connect(database_url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    return run


@pytest.fixture
def desk(db: Database, feed: Feed, jobs: Jobs, settings: Settings) -> Desk:
    return Desk(db, feed, jobs, settings)


async def beat(db: Database, lease: timedelta = LEASE) -> None:
    async with db.transaction(EVERYONE) as tx:
        await renew_lease(tx, new_id(), lease=lease)


async def test_where_all_is_well_nothing_is_wrong(settings: Settings, db: Database) -> None:
    await beat(db)
    found = [*await examine_postgres(settings), *await examine_redis(settings)]
    assert {finding.state for finding in found} == {State.ok}, found
    assert exit_code(found) == 0
    told = by_name(found)
    assert told["row security"].said == "holds for parley_service"
    assert told["workers"].said.startswith("1 alive, the last beat was 0.")
    assert told["queue"].said == "0 waiting, 0 running, 0 awaiting approval"
    assert "no TLS" in told["postgres"].said
    assert "Valkey 9" in told["redis"].said


async def test_a_wrong_password_and_a_postgres_that_was_stopped() -> None:
    with folder() as data, start_postgres(data, extra=FAST) as postgres:
        hba = Postgres(DataDir(data)).cluster / "pg_hba.conf"
        admin = await asyncpg.connect(postgres.url)
        await admin.execute("ALTER ROLE parley PASSWORD 'right'")
        hba.write_text("local all all scram-sha-256\n")
        await admin.execute("SELECT pg_reload_conf()")
        await until(lambda: refused(with_password(postgres.url, "sesame")))
        await admin.close()
        found = await postgres_of(make_settings(with_password(postgres.url, "right"), NOWHERE))
        assert found["postgres"].state is State.ok
        found = await postgres_of(make_settings(with_password(postgres.url, "sesame"), NOWHERE))
        assert found["postgres"].state is State.failure
        assert "(InvalidPasswordError)" in found["postgres"].said
        assert "password in DATABASE_URL" in found["postgres"].remedy
        assert "sesame" not in str(found)
    found = await postgres_of(make_settings(postgres.url, NOWHERE))
    assert found["postgres"].state is State.failure
    assert "Start Postgres" in found["postgres"].remedy
    others = [finding for name, finding in found.items() if name != "postgres"]
    assert {(finding.state, finding.said) for finding in others} == {
        (State.unknown, "Postgres is away")
    }


def with_password(url: str, password: str) -> str:
    return url.replace("parley@", f"parley:{password}@")


async def refused(url: str) -> bool:
    """The server has read its new rules."""
    try:
        await (await asyncpg.connect(url)).close()
    except asyncpg.InvalidPasswordError:
        return True
    return False


async def test_a_postgres_that_is_not_there() -> None:
    found = await postgres_of(make_settings("postgresql://u:sesame@127.0.0.1:1/x", NOWHERE))
    assert "(ConnectionRefusedError)" in found["postgres"].said
    assert "Start Postgres" in found["postgres"].remedy
    assert "sesame" not in str(found)


async def test_a_database_that_is_not_there_or_has_no_schema(
    settings: Settings, database_url: str
) -> None:
    elsewhere = make_settings(with_database(database_url, "nosuch"), NOWHERE)
    found = await postgres_of(elsewhere)
    assert "Create the database" in found["postgres"].remedy
    empty = make_settings(with_database(database_url, "postgres"), NOWHERE)
    found = await postgres_of(empty)
    assert found["postgres"].state is State.ok
    assert found["migrations"].state is State.failure
    assert found["migrations"].remedy == "Run `parley migrate`."
    assert {found[name].state for name in NEEDS_SCHEMA} == {State.unknown}


@pytest.mark.parametrize(
    ("revision", "state", "remedy"),
    [
        ("0001", State.failure, "Run `parley migrate` of this release."),
        ("9999", State.warning, "Run the newer release"),
    ],
)
async def test_a_schema_of_another_release(
    settings: Settings, sql: Sql, revision: str, state: State, remedy: str
) -> None:
    await sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    found = (await postgres_of(settings))["migrations"]
    assert found.said == f"the database is at {revision}, this release wants {SCHEMA_REVISION}"
    assert found.state is state
    assert remedy in found.remedy


async def test_row_security_that_does_not_hold(settings: Settings, sql: Sql) -> None:
    await sql("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY; DROP POLICY owner ON messages")
    found = (await postgres_of(settings))["row security"]
    assert found.state is State.failure
    assert found.said == "it doesn't hold for messages, tasks"
    assert "FORCE ROW LEVEL SECURITY" in found.remedy


async def test_a_role_that_passes_by_and_one_that_may_do_nothing(
    database_url: str, sql: Sql
) -> None:
    passes, nothing = f"passes_{new_id().hex}", f"nothing_{new_id().hex}"
    await sql(f"CREATE ROLE {passes} LOGIN BYPASSRLS; CREATE ROLE {nothing} LOGIN")
    try:
        url = database_url.replace("parley@", f"{passes}@")
        found = (await postgres_of(make_settings(url, NOWHERE)))["row security"]
        assert found.state is State.failure
        assert found.said == f"it doesn't hold for {passes}, who passes by it"
        assert "GRANT parley_service" in found.remedy
        url = database_url.replace("parley@", f"{nothing}@")
        told = await postgres_of(make_settings(url, NOWHERE))
        assert told["row security"].state is State.failure
        assert f"{nothing} may not read and write" in told["row security"].said
        assert told["queue"].said == "the role may not read the tables"
        await sql(f"GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {nothing}")
        told = await postgres_of(make_settings(url, NOWHERE))
        assert f"{nothing} may not read and write" in told["row security"].said
    finally:
        await sql(f"DROP OWNED BY {nothing}; DROP ROLE {passes}; DROP ROLE {nothing}")


async def test_pools_that_want_more_than_postgres_has(settings: Settings, db: Database) -> None:
    await beat(db)
    changed = settings.model_copy(update={"database_pool_size": 500})
    found = (await postgres_of(changed))["connections"]
    assert found.state is State.warning
    assert "1 worker and one API take up to 1000" in found.said
    assert "max_connections" in found.remedy


async def test_no_worker_and_one_that_died(settings: Settings, db: Database) -> None:
    found = (await postgres_of(settings))["workers"]
    assert found.state is State.failure
    assert "none was there within the last hour" in found.said
    assert "`parley worker`" in found.remedy
    await beat(db, timedelta(seconds=-120))
    found = (await postgres_of(settings))["workers"]
    assert found.state is State.failure
    assert found.said == "none alive; the last lease ran out 2.0 min ago"
    assert "log" in found.remedy


async def test_a_turn_that_nobody_comes_for(
    settings: Settings, db: Database, desk: Desk, sql: Sql
) -> None:
    await desk.say(await desk.conversation(), "Hello")
    aged = "UPDATE turns SET created_at = now() - interval '{0}', "
    aged += "queued_at = now() - interval '{0}'"
    await sql(aged.format("2 min"))
    found = (await postgres_of(settings))["queue"]
    assert found.state is State.failure
    assert found.said.startswith("1 waiting, 0 running, 0 awaiting approval; one that could run")
    assert "has waited for 2.0 min" in found.said
    assert "nobody is there" in found.remedy
    await beat(db)
    found = (await postgres_of(settings))["queue"]
    assert (found.state, "Start more workers" in found.remedy) == (State.failure, True)
    await sql(aged.format("20 s"))
    assert (await postgres_of(settings))["queue"].state is State.warning


async def test_a_clock_that_is_wrong(settings: Settings) -> None:
    def fast() -> float:
        return time.time() + 90

    def slow() -> float:
        return time.time() - 90

    for now, side in ((fast, "ahead of"), (slow, "behind")):
        told = await examine_postgres(settings, now=now)
        told += await examine_redis(settings, now=now)
        for name, whose in (("clock", "Postgres'"), ("redis clock", "Redis'")):
            found = by_name(told)[name]
            assert found.state is State.warning
            assert found.said == f"this machine's is 1.5 min {side} {whose}"
            assert "time server" in found.remedy


async def test_what_is_silent_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "redis"):
        monkeypatch.setattr(f"cli.doctor_{name}.CHECK_SECONDS", 0.2)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        found = await postgres_of(make_settings(f"postgresql://u:p@{at}/x", NOWHERE))
        assert found["postgres"].said == f"x at {at} doesn't answer within 0.2 s"
        found = await redis_of(f"redis://{at}/0")
        assert found["redis"].said == f"{at} can't be used (TimeoutError)"
    assert time.monotonic() - began < 5
