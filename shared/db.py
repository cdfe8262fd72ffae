"""The database: one engine a process, and transactions that tell the world after they commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from weakref import WeakValueDictionary

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog
from sqlalchemy import Executable, QueuePool, text
from sqlalchemy.engine import CursorResult, Row
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.connection import (
    LOOKING,
    LOST,
    SILENCE_SECONDS,
    WAIT_SECONDS,
    WRITING,
    Driver,
    Whose,
    begun,
    create_engine,
)
from shared.errors import Unavailable
from shared.metrics import DATABASE_ERRORS, POOL, POOL_SIZE, POOL_WAIT_SECONDS
from shared.settings import Settings
from shared.statement import Record, Statement

log = structlog.get_logger()

AfterCommit = Callable[[], Awaitable[object]]

# Of the connections, for those who only look whether there is news.
SHARE_OF_VIEWERS = 0.3
SEARCHES = 2
"""So many at once, of all owners of the process."""
SEARCH_SECONDS = 2
"""No longer than others wait: the next in the line gets its place in time."""
SHORT = text(f"SET LOCAL statement_timeout = '{SEARCH_SECONDS}s'")
# SQLSTATE classes that speak of the server or the connection and not of the statement: connection
# exceptions, a login or a database that there isn't (any more), lost races, insufficient resources,
# busy locks, operator intervention.
UNAVAILABLE_CLASSES = ("08", "28", "3D", "40", "53", "55", "57")
CANCELLED = "57014"
TOO_LONG = "It took too long"


class Transaction:
    """A connection in a transaction, and what to do once it is committed.

    What runs often is a `Statement`, which the driver gets as it is.
    """

    def __init__(
        self, connection: AsyncConnection, driver: Driver, deadline: asyncio.Timeout
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._deadline = deadline
        self._after_commit: list[AfterCommit] = []

    async def execute(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> CursorResult[Any]:
        return await self._connection.execute(statement, parameters)

    async def all(
        self, statement: Executable | Statement, parameters: dict[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        if isinstance(statement, Statement):
            sql, values = statement.bound(parameters or {})
            return await self._driver.fetch(sql, *values, record_class=Record)
        return (await self.execute(statement, parameters)).all()

    async def first(
        self, statement: Executable | Statement, parameters: dict[str, Any] | None = None
    ) -> Row[Any] | None:
        if isinstance(statement, Statement):
            sql, values = statement.bound(parameters or {})
            return await self._driver.fetchrow(sql, *values, record_class=Record)
        return (await self.execute(statement, parameters)).first()

    async def scalar(
        self, statement: Executable | Statement, parameters: dict[str, Any] | None = None
    ) -> Any:
        if isinstance(statement, Statement):
            sql, values = statement.bound(parameters or {})
            return await self._driver.fetchval(sql, *values)
        return (await self.execute(statement, parameters)).scalar()

    def take_time(self) -> None:
        """It may take longer than Postgres lets others."""
        self._deadline.reschedule(None)

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
        connections = settings.database_pool_size
        self._places = asyncio.Semaphore(connections)
        self._viewers = asyncio.Semaphore(max(1, int(connections * SHARE_OF_VIEWERS)))
        self._searches = asyncio.Semaphore(SEARCHES)
        self._own_search: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        pool = cast("QueuePool", self.engine.pool)
        POOL.labels("in_use").set_function(pool.checkedout)
        POOL.labels("idle").set_function(pool.checkedin)
        POOL_SIZE.set(connections)

    @asynccontextmanager
    async def transaction(self, owner: Whose) -> AsyncGenerator[Transaction]:
        """For the rows of one owner; no others can be seen or written. Commits at the end of the
        block, or rolls back if it raises.
        """
        async with (
            available(),
            _place(self._places),
            begun(self.engine, WRITING, owner) as (connection, driver),
            asyncio.timeout(SILENCE_SECONDS) as deadline,
        ):
            tx = Transaction(connection, driver, deadline)
            yield tx
        await tx.committed()

    @asynccontextmanager
    async def snapshot(self, owner: Whose) -> AsyncGenerator[Transaction]:
        """A read-only transaction in which every statement sees the same state."""
        async with (
            available(),
            _place(self._places),
            begun(self.engine, LOOKING, owner) as (connection, driver),
            asyncio.timeout(SILENCE_SECONDS) as deadline,
        ):
            yield Transaction(connection, driver, deadline)

    @asynccontextmanager
    async def look(self, owner: Whose) -> AsyncGenerator[Transaction]:
        """A snapshot for a viewer, who may have to wait for others: thousands of them, when Redis
        is away and all look at the rows, must leave connections for those who change something.
        """
        async with self._viewers, self.snapshot(owner) as tx:
            yield tx

    @asynccontextmanager
    async def search(self, owner: str) -> AsyncGenerator[Transaction]:
        """A snapshot for what gives Postgres much to do: few at once, and of one owner only one.
        Further ones wait, but not for long; nor does any statement take long.
        """
        own = self._own_search.setdefault(owner, asyncio.Semaphore())
        async with available(), _place(own), _place(self._searches), self.snapshot(owner) as tx:
            await tx.execute(SHORT)
            yield tx

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def _place(places: asyncio.Semaphore) -> AsyncGenerator[None]:
    """Connections go to those who asked first: the pool serves newcomers before them."""
    began = time.perf_counter()
    async with asyncio.timeout(WAIT_SECONDS):
        await places.acquire()
    POOL_WAIT_SECONDS.observe(time.perf_counter() - began)
    try:
        yield
    finally:
        places.release()


@asynccontextmanager
async def available() -> AsyncGenerator[None]:
    """Turns the many ways in which Postgres can be away into one error."""
    try:
        async with _translated():
            yield
    except Unavailable:
        DATABASE_ERRORS.inc()
        raise


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    try:
        yield
    # SQLAlchemy passes on the driver's own while it makes a new connection ready for use.
    except (PoolTimeoutError, DisconnectionError, *LOST) as error:
        # The driver's word for a value that it can't send is one of these too. A certificate that
        # isn't the server's makes a ValueError as well, of a connection that isn't there.
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            raise
        raise Unavailable() from error
    except asyncpg.PostgresError as error:
        state = str(getattr(error, "sqlstate", None) or "")
        if _speaks_of_the_server(state):
            raise Unavailable(TOO_LONG if state == CANCELLED else "") from error
        raise
    except DBAPIError as error:
        if error.connection_invalidated or _is_absence(error):
            raise Unavailable(TOO_LONG if _state(error) == CANCELLED else "") from error
        raise


def _is_absence(error: DBAPIError) -> bool:
    """Whether it speaks of the server or the connection and not of the statement."""
    if state := _state(error):
        return _speaks_of_the_server(state)
    # The driver's own: a connection that is closed under a statement, unless it is a value that
    # it can't send.
    return not isinstance(error.orig.__cause__ if error.orig else None, ValueError)


def _speaks_of_the_server(state: str) -> bool:
    return state.startswith(UNAVAILABLE_CLASSES)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
