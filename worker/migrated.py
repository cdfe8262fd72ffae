"""Nothing is done on a schema that is older than this release: a worker waits for the migration.

So it can be started before, beside the old ones. Until then it claims nothing and has no lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.db import Database
from shared.models import SCHEMA_REVISION
from shared.redis import end
from shared.store.health import is_migrated

log = structlog.get_logger()

LOOK_SECONDS = 0.5


class Migrated:
    """Begins to look at once. Close it."""

    def __init__(self, db: Database) -> None:
        self.found = False
        self._db = db
        self._looking = asyncio.create_task(self._look())

    async def then(self, run: Callable[[], Awaitable[None]]) -> None:
        """Runs it once the schema is there. Who is cancelled here ends nobody else's waiting."""
        await asyncio.shield(self._looking)
        await run()

    async def close(self) -> None:
        await end(self._looking)

    async def _look(self) -> None:
        told = False
        while not self.found:
            try:
                self.found = await is_migrated(self._db)
                if not self.found and not told:
                    log.info("waiting_for_migrations", expected=SCHEMA_REVISION)
                    told = True
            except Exception as error:
                log.warning("schema_unknown", error=type(error).__name__)
            if not self.found:
                await asyncio.sleep(LOOK_SECONDS)
