"""How a migration gets its locks without standing in the way of those who talk meanwhile.

Whoever waits for the lock of a table has everybody behind it wait too, so no migration waits long:
it gives up, lets the queue go by and comes again. What it had begun is rolled back.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

from alembic import op
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

# Any number; the same in every release, so that two that start at once wait for each other.
MIGRATION_LOCK = 7_072_657_962_033_241_729
LOCK_SECONDS = 1.0
"""So long one statement may wait for the lock of a table. Less than our services wait (3 s)."""
TRIES = 10
"""With the pauses about 40 s: whoever has a transaction of ours is through with it by then."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
LOOK_SECONDS = 0.5
# SQLSTATE: the lock was not to be had in time; two waited for each other, and we were chosen.
LOCKED = {"55P03", "40P01"}

ASK = f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})"
STAY_IDLE = "SET LOCAL idle_in_transaction_session_timeout = 0"


class TableLockedError(Exception):
    """Every try to get the lock of a table was in vain. Nothing is half done."""


@asynccontextmanager
async def alone(engine: AsyncEngine) -> AsyncGenerator[None]:
    """One at a time in a database: the others wait here, for as long as it takes.

    The lock has a connection of its own, whose transaction holds it while the migrations commit
    theirs. It is asked for and not waited for: a transaction that waits has a snapshot, for whose
    end CREATE INDEX CONCURRENTLY would wait.
    """
    told = False
    async with engine.connect() as connection:
        while True:
            if await connection.scalar(text(ASK)):
                break
            await connection.rollback()
            if not told:
                told = say("Another migration of this database is at work: waiting for its end")
            await asyncio.sleep(LOOK_SECONDS)
        # Last, since Postgres keeps the snapshot of a SELECT until the next statement.
        await connection.execute(text(STAY_IDLE))
        yield


def wait_briefly(connection: Connection) -> None:
    """From now on, in every transaction of this connection. Not outside of one: what is done
    CONCURRENTLY waits for the transactions of others, and nobody waits behind it.
    """

    @event.listens_for(connection, "begin")
    def begin(_: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS:g}s'")


def again_while_locked(run: Callable[[], None], roll_back: Callable[[], None]) -> None:
    """Raises TableLockedError when it has tried often enough."""
    pause = FIRST_PAUSE_SECONDS
    for number in range(1, TRIES + 1):
        try:
            return run()
        except DBAPIError as error:
            roll_back()
            if getattr(error.orig, "sqlstate", None) not in LOCKED:
                raise
        say(f"A table is locked by somebody else (try {number} of {TRIES})")
        if number < TRIES:
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    raise TableLockedError


@contextmanager
def outside_a_transaction() -> Generator[None]:
    """For a migration's statements that no transaction may have. What stands before is committed
    by itself, and all of it is done again where a later part fails: write it so that it can be.
    """
    with op.get_context().autocommit_block():
        yield


def create_index_beside_traffic(
    name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None
) -> None:
    """CREATE INDEX CONCURRENTLY. What an interrupted one left is not valid and goes first."""
    with outside_a_transaction():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            *(name, table, list(columns)),
            unique=unique,
            postgresql_concurrently=True,
            postgresql_where=text(where) if where else None,
        )


def drop_index_beside_traffic(name: str, table: str) -> None:
    with outside_a_transaction():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def say(sentence: str) -> bool:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
    return True
