"""Whether Postgres has room for this process: asked once, before anything else is.

Refused is only what no waiting heals. That the processes which are to be replaced still hold what
we need is no reason: they go once we are there (`docs/decisions/0016-services-of-others.md`).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from shared.addresses import postgres_address
from shared.connection import SERVER_SETTINGS
from shared.errors import SettingsError
from shared.settings import Settings

log = structlog.get_logger()

ASK_SECONDS = 2.0
# Of the server what is left for ordinary users (`reserved_connections` came with version 16), of
# the role and the database what they are allowed, if it is limited: superusers are not.
QUESTION = """
WITH login AS (
  SELECT oid AS role, rolsuper,
    (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
    NULLIF(rolconnlimit, -1) AS role_limit,
    (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
      AS database_limit,
    current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0) AS server_limit
  FROM pg_roles WHERE rolname = session_user
), limits AS (
  SELECT 'the server' AS whose, server_limit AS most,
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE usesysid IS NOT NULL) AS held
  FROM login
  UNION ALL SELECT 'the role', role_limit,
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE usesysid = role)
  FROM login WHERE NOT rolsuper
  UNION ALL SELECT 'the database', database_limit,
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE datid = database AND usesysid IS NOT NULL)
  FROM login WHERE NOT rolsuper
)
SELECT whose, most, held::int FROM limits WHERE most IS NOT NULL ORDER BY most
"""
OF_A_POOLER = "unsupported startup parameter"
"""What PgBouncer says to the settings that we begin a session with."""


async def refuse_without_room(settings: Settings) -> None:
    """Raises SettingsError where Postgres can never give this process all its connections.

    Says nothing where Postgres can't be asked now, for it may come later than we do; nor behind a
    pooler, whose connections aren't those of Postgres.
    """
    address = postgres_address(settings.database_url.get_secret_value())
    if address.pooled:
        return
    try:
        async with asyncio.timeout(ASK_SECONDS):
            limits = await _ask(address.dsn)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        if OF_A_POOLER in str(error):
            problem = "a pooler answers: end it with ?pooler=transaction (docs/services.md)"
            raise SettingsError([f"DATABASE_URL: {problem}"]) from None
        log.warning("postgres_not_asked", error=type(error).__name__)
        return
    wanted = settings.database_pool_size
    for whose, most, held in limits:
        if wanted > most:
            raise SettingsError(
                [
                    f"DATABASE_POOL_SIZE: this process would open {wanted} connections, "
                    f"and {whose} allows {most} to all of them (docs/services.md)"
                ]
            )
        if wanted > most - held:
            log.warning("connections_scarce", limit_of=whose, limit=most, held=held, wanted=wanted)


async def _ask(dsn: str) -> list[Any]:
    connection = await cast("Any", asyncpg).connect(dsn, server_settings=SERVER_SETTINGS)
    try:
        return await connection.fetch(QUESTION)
    finally:
        await connection.close(timeout=ASK_SECONDS)
