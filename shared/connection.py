"""Connections to Postgres, and how a transaction begins and ends on one.

A transaction is begun for an owner, whose rows are all it can see or write, whatever its
statements ask for: row-level security is the wall behind the one in our queries. Its first words
say so in the same round trip as BEGIN, which also finds out whether a pooled connection is alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Final, Literal, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
import structlog
from sqlalchemy import QueuePool, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.addresses import PostgresAddress, postgres_address
from shared.errors import Unavailable
from shared.models import SERVICE_ROLE
from shared.settings import Settings

log = structlog.get_logger()

DIALECT = "postgresql+asyncpg://"
"""All else is asyncpg's to read: it knows libpq's URLs, SQLAlchemy doesn't."""
WAIT_SECONDS = 2.0
CONNECT_SECONDS = 3.0
# Postgres ends whatever takes longer than 5.5 s: one that is silent for longer is out of reach.
SILENCE_SECONDS = 6.0
ROLL_BACK_SECONDS = 1.0
# Postgres ends what hangs: a forgotten transaction must not hold a conversation's lock.
SERVER_SETTINGS = {
    "application_name": "parley",
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    # Less than a lease: whoever takes over from a frozen worker finds the lock free.
    "idle_in_transaction_session_timeout": "5000",
    "standard_conforming_strings": "on",
    # Our statements are to run as their one plan says, whatever values they get. Left to choose,
    # Postgres plans some of them anew each time, which takes longer than it takes to run them.
    "plan_cache_mode": "force_generic_plan",
    # What is read is little, even where Postgres expects much.
    "jit": "off",
}
# The connections of a host that vanished without a word take nobody's place for long.
LINE_SETTINGS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# A worker that is frozen while Postgres waits for the rest of its statement isn't idle to it; only
# `transaction_timeout` ends that, which Postgres has from version 17 on. Row-level security holds
# for nobody who may pass by it: who logs in as such takes the services' role in each transaction.
PREPARE = """
SELECT
  CASE WHEN current_setting('server_version_num')::int >= 170000
    THEN set_config('transaction_timeout', '5500', false) END,
  rolsuper OR rolbypassrls AS passes_by,
  EXISTS (
    SELECT FROM pg_roles WHERE rolname = $1 AND pg_has_role(oid, 'MEMBER')
  ) AS may_take_role
FROM pg_roles WHERE rolname = session_user
"""
# Behind a pooler nothing may be said for longer than a transaction: the connection is somebody
# else's afterwards. What a session would be told once is said in each transaction's first words.
PREPARE_POOLED = PREPARE.replace("'5500', false", "'5500', true")
POOLED_SETTINGS = {"application_name": SERVER_SETTINGS["application_name"]}
TAKES_ROLE = "parley_takes_role"
SAYS = "parley_says"
"""What every transaction of the connection sets first."""

WRITING = "BEGIN"
LOOKING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# What the driver itself raises where the connection or the server is gone.
LOST = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
)


class Scope(Enum):
    """Whose rows a transaction is for, where it isn't those of one owner."""

    EVERYONE = "\x01"
    """No owner's name: those have no control characters."""
    LOGIN = ""
    """Not for our rows at all: what the account that we log in with may do elsewhere."""


EVERYONE: Final = Scope.EVERYONE
"""For work on behalf of nobody in particular: claiming, sweeping, finding out who asks."""
LOGIN: Final = Scope.LOGIN

Whose = str | Literal[Scope.EVERYONE, Scope.LOGIN]


class Driver(Protocol):
    """What we use of asyncpg's connection, which has no types of its own."""

    async def execute(self, query: str) -> str: ...
    async def fetch(self, query: str, *values: Any, record_class: type) -> list[Any]: ...
    async def fetchrow(self, query: str, *values: Any, record_class: type) -> Any: ...
    async def fetchval(self, query: str, *values: Any) -> Any: ...
    def is_closed(self) -> bool: ...
    def is_in_transaction(self) -> bool: ...
    def terminate(self) -> None: ...


def create_engine(settings: Settings) -> AsyncEngine:
    """Raises ValueError where DATABASE_URL can't be one."""
    address = postgres_address(settings.database_url.get_secret_value())
    engine = create_async_engine(
        DIALECT,
        pool_size=settings.database_pool_size,
        # A connection that comes and goes costs Postgres more than a turn does.
        max_overflow=0,
        # The one used last knows the statements best.
        pool_use_lifo=True,
        pool_timeout=WAIT_SECONDS,
        # Transactions are begun and ended here.
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        json_serializer=_json,
        json_deserializer=msgspec.json.decode,
        connect_args={
            **connect_args(address),
            "server_settings": settings_of(address),
            "timeout": CONNECT_SECONDS,
        },
    )
    prepare = _prepare_pooled if address.pooled else _prepare
    event.listen(engine.sync_engine, "connect", prepare)
    return engine


def settings_of(address: PostgresAddress) -> dict[str, str]:
    """What a session is told as it begins."""
    return POOLED_SETTINGS if address.pooled else SERVER_SETTINGS | LINE_SETTINGS


def connect_args(address: PostgresAddress) -> dict[str, Any]:
    """How SQLAlchemy's dialect is to call asyncpg. A pooler's next statement may go to another
    server process, which knows none of the statements prepared before: then each goes as a whole.
    """
    if not address.pooled:
        return {"dsn": address.dsn}
    return {
        "dsn": address.dsn,
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
    }


@asynccontextmanager
async def begun(
    engine: AsyncEngine, how: str, owner: Whose
) -> AsyncGenerator[tuple[AsyncConnection, Driver]]:
    """A connection within a transaction, committed at the end of the block or rolled back.

    Raises Unavailable where the outcome of the commit can't be known.
    """
    connection, driver = await _begin(engine, how, owner)
    try:
        try:
            yield connection, driver
        except BaseException:
            await _roll_back(driver)
            raise
        await _end(driver, "COMMIT" if how == WRITING else "ROLLBACK")
    finally:
        await connection.close()


async def _begin(engine: AsyncEngine, how: str, owner: Whose) -> tuple[AsyncConnection, Driver]:
    """On a connection that is alive: those that died in the pool are replaced. After one that is
    silent no other is tried: it would be silent for as long.
    """
    pooled = cast("QueuePool", engine.pool).checkedin()
    while True:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await engine.connect()
        driver = cast("Driver", (await connection.get_raw_connection()).driver_connection)
        try:
            if driver.is_closed() or driver.is_in_transaction():
                raise asyncpg.InterfaceError("closed, or left in the middle of a transaction")
            info = connection.info
            words = _first_words(how + info.get(SAYS, ""), owner, takes_role=info[TAKES_ROLE])
            async with asyncio.timeout(WAIT_SECONDS):
                await driver.execute(words)
        except BaseException as error:
            # Without a goodbye, for which we would have to wait.
            driver.terminate()
            await connection.invalidate()
            await connection.close()
            if pooled <= 0 or isinstance(error, TimeoutError) or not isinstance(error, LOST):
                raise
            pooled -= 1
        else:
            return connection, driver


def _first_words(how: str, owner: Whose, *, takes_role: bool) -> str:
    if owner is LOGIN:
        return how
    role = f"; SET LOCAL ROLE {SERVICE_ROLE}" if takes_role else ""
    return f"{how}{role}; SET LOCAL parley.owner = {_literal(owner)}"


def _literal(owner: Whose) -> str:
    """Quoted for Postgres, whatever `standard_conforming_strings` is: a pooler may not know it."""
    name = owner.value if isinstance(owner, Scope) else owner
    if not name or "\0" in name:
        raise ValueError("no owner")
    quoted = "'" + name.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in name else quoted


async def _end(driver: Driver, word: str) -> None:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            done = await driver.execute(word)
    except (asyncpg.PostgresError, *LOST) as error:
        driver.terminate()
        raise Unavailable from error
    if done != word:
        raise RuntimeError("the transaction had failed before its end")


async def _roll_back(driver: Driver) -> None:
    """Where that fails the connection goes: nothing of ours may be left open on it."""
    if driver.is_closed():
        return
    try:
        async with asyncio.timeout(ROLL_BACK_SECONDS):
            await driver.execute("ROLLBACK")
    except (asyncpg.PostgresError, *LOST):
        driver.terminate()
    except BaseException:
        driver.terminate()
        raise


def _prepare(connection: Any, record: Any, question: str = PREPARE) -> Any:
    """The transaction's timeout, where this Postgres has one."""
    cursor = connection.cursor()
    cursor.execute(question, (SERVICE_ROLE,))
    timeout, passes_by, may_take_role = cursor.fetchone()
    cursor.close()
    connection.commit()
    record.info[TAKES_ROLE] = passes_by and may_take_role
    if passes_by and not may_take_role:
        log.warning("row_level_security_does_not_hold", missing_role=SERVICE_ROLE)
    return timeout


def _prepare_pooled(connection: Any, record: Any) -> None:
    timeout = _prepare(connection, record, PREPARE_POOLED)
    said = {name: value for name, value in SERVER_SETTINGS.items() if name not in POOLED_SETTINGS}
    if timeout is not None:
        said["transaction_timeout"] = timeout
    record.info[SAYS] = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in said.items())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
