"""Postgres, and what the rows say: it is reached first, then everything is asked side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import parse_qs, urlsplit

from cli.doctor_findings import (
    CHECK_SECONDS,
    Check,
    Finding,
    all_checked,
    checked,
    counted,
    failure,
    lasting,
    ok,
    sized,
    unknown,
    warning,
)
from shared.connection import EVERYONE, LOGIN
from shared.db import Database, Transaction
from shared.models import SCHEMA_REVISION, SERVICE_ROLE
from shared.settings import Settings
from shared.store.doctor import Server, clock, guard, reason, server
from shared.store.failures import DATABASE_ERRORS
from shared.store.fleet import fleet, worker_states
from shared.store.health import schema_revision
from shared.store.workers import count_alive

OLDEST, NEWEST = 15, 18
CLOSE_SECONDS = 1.0
SLOW_SECONDS, STUCK_SECONDS = 5.0, 60.0
"""A turn that could run and waits for so long: people notice, and it is broken."""
APART_SECONDS = 2.0
"""Clocks: tokens are taken for not yet good, or for expired."""
NEEDS_SCHEMA = ("row security", "connections", "workers", "queue")
NEEDS_POSTGRES = ("migrations", *NEEDS_SCHEMA, "clock", "database")
AWAY = "Postgres is away"
NEVER = "the database was never migrated"
Now = Callable[[], float]

LOGIN_REFUSED = "Correct the user and the password in DATABASE_URL, or Postgres' pg_hba.conf."
REMEDIES = {
    "InvalidPasswordError": LOGIN_REFUSED,
    "InvalidAuthorizationSpecificationError": LOGIN_REFUSED,
    "InvalidCatalogNameError": "Create the database that DATABASE_URL names, or correct the name.",
    "TooManyConnectionsError": "Raise max_connections, or lower DATABASE_POOL_SIZE.",
    "CannotConnectNowError": "Wait until Postgres has started; its log says how far it is.",
    "gaierror": "Correct the host in DATABASE_URL, or the resolver of this machine.",
    "SSLError": "Correct `sslmode=` in DATABASE_URL, or the certificate of Postgres.",
    "SSLCertVerificationError": "Name the authority that signed Postgres' certificate with "
    "`sslrootcert=` in DATABASE_URL (docs/services.md).",
}
START = "Start Postgres, or correct DATABASE_URL; a firewall may stand between too."


async def examine_postgres(settings: Settings, *, now: Now = time.time) -> list[Finding]:
    """`now` is this machine's clock."""
    where = place_of(settings.database_url.get_secret_value())
    db = Database(settings)
    try:
        async with asyncio.timeout(CHECK_SECONDS), db.snapshot(LOGIN) as tx:
            found = await server(tx)
        return [
            check_server(found, where),
            ok("database", sized(found.database_bytes)),
            *await examine_schema(db, settings, found, now),
        ]
    except TimeoutError as error:
        return away(f"{where} doesn't answer within {CHECK_SECONDS:g} s", error)
    except Exception as error:
        return away(f"{where} can't be used ({reason(error)})", error)
    finally:
        # What doesn't answer any more must not keep us.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await db.close()


def away(said: str, error: BaseException) -> list[Finding]:
    remedy = REMEDIES.get(reason(error), START)
    return [failure("postgres", said, remedy), *(unknown(name, AWAY) for name in NEEDS_POSTGRES)]


def place_of(url: str) -> str:
    """Database, host and port: nothing else of the address is shown."""
    try:
        parts = urlsplit(url)
        host = (parse_qs(parts.query).get("host") or [parts.hostname or "localhost"])[0]
        at = host if host.startswith("/") else f"{host}:{parts.port or 5432}"
        return f"{parts.path.removeprefix('/') or 'the database'} at {at}"
    except ValueError:
        return "the database"


def check_server(found: Server, where: str) -> Finding:
    said = f"{found.version}, {where}, {'TLS' if found.tls else 'no TLS'}"
    if found.major < OLDEST:
        return failure("postgres", said, f"Upgrade Postgres to {OLDEST} or newer.")
    if found.major > NEWEST:
        remedy = f"Watch the logs: Parley was tested with Postgres {OLDEST} to {NEWEST}."
        return warning("postgres", said, remedy)
    return ok("postgres", said)


async def check_migrations(tx: Transaction) -> Finding:
    revision = await schema_revision(tx)
    if revision is None:
        return failure("migrations", NEVER, "Run `parley migrate`.")
    said = f"the database is at {revision}, this release wants {SCHEMA_REVISION}"
    if revision < SCHEMA_REVISION:
        return failure("migrations", said, "Run `parley migrate` of this release.")
    if revision > SCHEMA_REVISION:
        remedy = "Run the newer release that migrated the database: this one works for one release."
        return warning("migrations", said, remedy)
    return ok("migrations", f"at {revision}, as this release wants it")


async def examine_schema(
    db: Database, settings: Settings, found: Server, now: Now
) -> list[Finding]:
    """What needs a schema is left out where there is none."""
    migrations = await checked("migrations", asks(db, "migrations", check_migrations))
    missing = NEEDS_SCHEMA if migrations.said == NEVER else ()
    checks: dict[str, Callable[[Transaction], Awaitable[Finding]]] = {
        "row security": partial(check_guard, found=found),
        "connections": partial(check_connections, found=found, pool=settings.database_pool_size),
        "workers": partial(check_workers, lease=settings.parley_lease_seconds),
        "queue": partial(check_queue, running_limit=settings.parley_limit_running_turns),
        "clock": partial(check_clock, now=now),
    }
    asked = {name: asks(db, name, ask) for name, ask in checks.items() if name not in missing}
    return [
        migrations,
        *await all_checked(asked),
        *(unknown(name, NEVER) for name in missing),
    ]


def asks(db: Database, name: str, ask: Callable[[Transaction], Awaitable[Finding]]) -> Check:
    async def run() -> Finding:
        try:
            async with db.snapshot(EVERYONE) as tx:
                return await ask(tx)
        except DATABASE_ERRORS as error:
            if reason(error) != "InsufficientPrivilegeError":
                raise
            return unknown(name, "the role may not read the tables")

    return run


async def check_guard(tx: Transaction, *, found: Server) -> Finding:
    """Row-level security, and whether the role may do its work at all."""
    seen = await guard(tx)
    if found.passes_by and not found.may_take_role:
        return failure(
            "row security",
            f"it doesn't hold for {found.role}, who passes by it",
            f"GRANT {SERVICE_ROLE} TO that role, or log in as one that is no superuser and has no "
            "BYPASSRLS.",
        )
    if seen.closed:
        return failure(
            "row security",
            f"{seen.role} may not read and write {', '.join(sorted(seen.closed))}",
            f"Run `parley migrate` as the tables' owner, and GRANT {SERVICE_ROLE} TO the role of "
            "DATABASE_URL or the tables' rights to it.",
        )
    if seen.open:
        return failure(
            "row security",
            f"it doesn't hold for {', '.join(sorted(seen.open))}",
            "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, with the policy that the "
            "migrations create.",
        )
    return ok("row security", f"holds for {seen.role}")


async def check_connections(tx: Transaction, *, found: Server, pool: int) -> Finding:
    """The pools of the workers that live and of one API; of further APIs nothing is known."""
    room, workers = found.max_connections - found.reserved, await count_alive(tx)
    wanted = pool * (workers + 1)
    said = (
        f"{found.connected} of {room} in use; {counted(workers, 'worker')} and one API take up "
        f"to {wanted}"
    )
    if wanted > room:
        remedy = "Raise max_connections of Postgres, or lower DATABASE_POOL_SIZE."
        return warning("connections", said, remedy)
    return ok("connections", said)


async def check_workers(tx: Transaction, *, lease: float) -> Finding:
    """`lease` is the setting, as the workers are believed to have it too."""
    states = await worker_states(tx)
    alive = [state for state in states if state.lease_seconds > 0]
    if alive:
        since = max(0.0, lease - max(state.lease_seconds for state in alive))
        beat = f"the last beat was {since:.1f} s ago"
        return ok("workers", f"{len(alive)} alive, {beat}")
    if not states:
        said = "none, and none was there within the last hour"
        return failure("workers", said, "Start one with `parley worker`.")
    gone = -max(state.lease_seconds for state in states)
    return failure(
        "workers",
        f"none alive; the last lease ran out {lasting(gone)} ago",
        "Read the worker's log for why it ended or can't reach Postgres, and start it again.",
    )


async def check_queue(tx: Transaction, *, running_limit: int) -> Finding:
    found = await fleet(tx, running_limit=running_limit)
    said = (
        f"{found.queued} waiting, {found.running} running, "
        f"{found.awaiting_approval} awaiting approval"
    )
    oldest = found.longest_wait_seconds
    if oldest < SLOW_SECONDS:
        return ok("queue", said)
    said += f"; one that could run has waited for {lasting(oldest)}"
    if found.workers == 0:
        return failure("queue", said, "Start a worker: nobody is there to run it.")
    remedy = "Start more workers or raise PARLEY_MAX_TURNS: those there are full, or stand still."
    return (failure if oldest >= STUCK_SECONDS else warning)("queue", said, remedy)


async def check_clock(tx: Transaction, *, now: Now) -> Finding:
    """Halfway between asking and being answered is when Postgres looked at its own."""
    before = now()
    theirs = (await clock(tx)).timestamp()
    return compared("clock", theirs - (before + now()) / 2, "Postgres'")


def compared(name: str, apart: float, whose: str) -> Finding:
    """`apart` is in seconds: how far the other clock is ahead of this machine's."""
    if abs(apart) <= APART_SECONDS:
        return ok(name, f"{abs(apart) * 1000:.0f} ms from {whose}")
    side = "ahead of" if apart < 0 else "behind"
    return warning(
        name,
        f"this machine's is {lasting(abs(apart))} {side} {whose}",
        "Let both machines follow a time server: tokens count as expired, or not yet good, by the "
        "API's clock.",
    )
