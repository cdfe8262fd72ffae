"""The database: one engine a process, and transactions that tell the world after they commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
import structlog
from sqlalchemy import Executable, event, make_url
from sqlalchemy.engine import CursorResult, Row
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import Unavailable
from shared.settings import Settings

log = structlog.get_logger()

AfterCommit = Callable[[], Awaitable[object]]

WAIT_SECONDS = 2.0
# Of the connections, for those who only look whether there is news.
SHARE_OF_VIEWERS = 0.3
# Postgres ends what hangs: a forgotten transaction must not hold a conversation's lock.
SERVER_SETTINGS = {
    "application_name": "parley",
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    # Less than a lease: whoever takes over from a frozen worker finds the lock free.
    "idle_in_transaction_session_timeout": "5000",
}
LIMIT_TRANSACTIONS = (
    "SELECT set_config('transaction_timeout', '5500', false) "
    "WHERE current_setting('server_version_num')::int >= 170000"
)
# SQLSTATE classes that speak of the server or the connection and not of the statement:
# connection exceptions, lost races, insufficient resources, busy locks, operator intervention.
UNAVAILABLE_CLASSES = ("08", "40", "53", "55", "57")

# SQLAlchemy passes on the driver's own errors while it makes a new connection ready for use.
LOST_WHILE_PREPARED = (
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


class Transaction:
    """A connection in a transaction, and what to do once it is committed."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._after_commit: list[AfterCommit] = []

    async def execute(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> CursorResult[Any]:
        return await self._connection.execute(statement, parameters)

    async def all(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> list[Row[Any]]:
        return list((await self.execute(statement, parameters)).all())

    async def first(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Row[Any] | None:
        return (await self.execute(statement, parameters)).first()

    async def scalar(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Any:
        return (await self.execute(statement, parameters)).scalar()

    def after_commit(self, callback: AfterCommit) -> None:
        """Registers what is told to others; a failure there is logged and changes nothing."""
        self._after_commit.append(callback)

    async def committed(self) -> None:
        for callback in self._after_commit:
            try:
                await callback()
            except Exception as error:
                log.warning("after_commit_failed", error=type(error).__name__)


class Database:
    def __init__(self, settings: Settings) -> None:
        self.engine = create_engine(settings)
        connections = settings.database_pool_size + settings.database_max_overflow
        self._places = asyncio.Semaphore(connections)
        self._viewers = asyncio.Semaphore(max(1, int(connections * SHARE_OF_VIEWERS)))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """Commits at the end of the block, or rolls back if it raises."""
        async with available(), self._place(), self.engine.begin() as connection:
            tx = Transaction(connection)
            yield tx
        await tx.committed()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Transaction]:
        """A read-only transaction in which every statement sees the same state."""
        async with available(), self._place(), self.engine.connect() as connection:
            await connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            yield Transaction(connection)

    @asynccontextmanager
    async def look(self) -> AsyncGenerator[Transaction]:
        """A snapshot for a viewer, who may have to wait for others: thousands of them, when Redis
        is away and all look at the rows, must leave connections for those who change something.
        """
        async with self._viewers, self.snapshot() as tx:
            yield tx

    @asynccontextmanager
    async def _place(self) -> AsyncGenerator[None]:
        """Connections go to those who asked first: the pool serves newcomers before them."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def available() -> AsyncGenerator[None]:
    """Turns the many ways in which Postgres can be away into one error."""
    try:
        yield
    except (OSError, PoolTimeoutError, DisconnectionError, *LOST_WHILE_PREPARED) as error:
        raise Unavailable() from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_absence(error):
            raise Unavailable() from error
        raise


def _is_absence(error: DBAPIError) -> bool:
    """Whether it speaks of the server or the connection and not of the statement."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state:
        return state.startswith(UNAVAILABLE_CLASSES)
    # The driver's own: a connection that is closed under a statement, unless it is a value that
    # it can't send.
    return not isinstance(error.orig.__cause__ if error.orig else None, ValueError)


def sqlalchemy_url(url: str) -> str:
    """The same URL with the driver we use: `postgresql://…` is what people write."""
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+asyncpg")
    return parsed.render_as_string(hide_password=False)


def create_engine(settings: Settings) -> AsyncEngine:
    engine = create_async_engine(
        sqlalchemy_url(settings.database_url.get_secret_value()),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=_json,
        json_deserializer=msgspec.json.decode,
        connect_args={"server_settings": SERVER_SETTINGS, "timeout": 5},
    )
    event.listen(engine.sync_engine, "connect", _limit_transactions)
    return engine


def _limit_transactions(connection: Any, _: object) -> None:
    """A worker that is frozen while Postgres waits for the rest of its statement isn't idle to it.

    Only `transaction_timeout` ends that, which Postgres has from version 17 on.
    """
    cursor = connection.cursor()
    cursor.execute(LIMIT_TRANSACTIONS)
    cursor.close()
    connection.commit()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
