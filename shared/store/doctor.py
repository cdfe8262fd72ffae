"""What `parley doctor` and `parley status --watch` ask of the database, beside `fleet.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import bindparam, case, func, select, text
from sqlalchemy.dialects.postgresql import INTERVAL

from shared import account_models
from shared.db import Transaction
from shared.ids import first_id_of
from shared.models import SERVICE_ROLE, Base, Turn
from shared.statement import Statement
from shared.store.failures import kind_of

assert account_models  # imported for its tables
OWNED = sorted(name for name, table in Base.metadata.tables.items() if "user_id" in table.columns)
"""Tables whose rows are somebody's: each has the policy `owner`."""
SERVED = sorted(Base.metadata.tables)


class Server(msgspec.Struct, frozen=True):
    """The server, and what the account that we log in with may do."""

    version: str
    major: int
    tls: bool
    max_connections: int
    reserved: int
    """Of them, for administrators."""
    connected: int
    database_bytes: int
    role: str
    passes_by: bool
    """Row-level security does not hold for it: a superuser, or BYPASSRLS."""
    may_take_role: bool
    """The services' role, for which it holds."""


class Guard(msgspec.Struct, frozen=True):
    """Tables with a fault, as the role sees them that a transaction of ours has."""

    role: str
    open: list[str]
    """Row-level security doesn't hold for them."""
    closed: list[str]
    """The role may not read and write them, or they aren't there."""


class Ended(msgspec.Struct, frozen=True):
    """Turns that ended lately, by how, and those whose worker died on the way."""

    completed: int
    failed: int
    cancelled: int
    taken_over: int
    """Some worker died with them: of those that ended lately and those that run."""


_SERVER = text(
    """
    SELECT
      current_setting('server_version') AS version,
      current_setting('server_version_num')::int / 10000 AS major,
      coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
      current_setting('max_connections')::int AS max_connections,
      current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
      (SELECT sum(numbackends)::int FROM pg_stat_database) AS connected,
      pg_database_size(current_database()) AS database_bytes,
      rolname AS role,
      rolsuper OR rolbypassrls AS passes_by,
      EXISTS (
        SELECT FROM pg_roles WHERE rolname = :role AND pg_has_role(oid, 'MEMBER')
      ) AS may_take_role
    FROM pg_roles WHERE rolname = session_user
    """
)
# A table that has row-level security and no policy would show nothing to anybody: a fault too.
_GUARD = text(
    """
    SELECT
      asked.name, current_user AS role,
      coalesce(has_schema_privilege(c.relnamespace, 'USAGE')
        AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'),
        false) AS served,
      coalesce(row_security_active(c.oid) AND EXISTS (
        SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'owner'
      ), false) AS guarded
    FROM unnest(CAST(:names AS text[])) AS asked (name)
    LEFT JOIN pg_class c ON c.oid = to_regclass(asked.name)
    """
)
_lately = Turn.finished_at >= func.clock_timestamp() - bindparam("within", type_=INTERVAL)
_ENDED = Statement(
    select(
        func.count().filter(_lately, Turn.status == "completed").label("completed"),
        func.count().filter(_lately, Turn.status == "failed").label("failed"),
        func.count().filter(_lately, Turn.status == "cancelled").label("cancelled"),
        func.sum(case((Turn.crashes > 0, 1), else_=0))
        .filter(_lately | (Turn.status == "running"))
        .label("taken_over"),
    ).where(Turn.id >= bindparam("first"))
)


async def server(tx: Transaction) -> Server:
    """In a transaction for LOGIN."""
    row = await tx.first(_SERVER, {"role": SERVICE_ROLE})
    assert row is not None
    return Server(*row)


async def guard(tx: Transaction) -> Guard:
    """In a transaction for EVERYONE, whose role is the services'."""
    rows = await tx.all(_GUARD, {"names": SERVED})
    return Guard(
        role=rows[0].role,
        open=[row.name for row in rows if row.name in OWNED and not row.guarded],
        closed=[row.name for row in rows if not row.served],
    )


async def clock(tx: Transaction) -> datetime:
    """Now, by the clock that leases go by."""
    now: datetime = await tx.scalar(text("SELECT clock_timestamp()"))
    return now


async def ended(tx: Transaction, *, within: timedelta, accepted: timedelta) -> Ended:
    """Those accepted before `accepted` ago aren't looked at: by their ids, no index is needed."""
    first = first_id_of(datetime.now(UTC) - accepted)
    row = await tx.first(_ENDED, {"first": first, "within": within})
    assert row is not None
    return Ended(row.completed, row.failed, row.cancelled, int(row.taken_over or 0))


def reason(error: BaseException) -> str:
    """The name of what is behind an error of ours or SQLAlchemy's: the driver's own, or the
    system's. It tells nothing of an address or a statement.
    """
    kind = kind_of(error)
    return kind_of(error.__cause__) if kind == "Unavailable" and error.__cause__ else kind
