"""Nothing is done on a schema that is older than this release: it is briefly unavailable.

A new release may be started before its migration has run, beside the old one.
"""

from __future__ import annotations

from litestar.handlers import BaseRouteHandler

from api.auth import PUBLIC
from api.cookies import Connection, method_of
from shared.db import Database
from shared.errors import Unavailable
from shared.store.health import is_migrated


class Migrated:
    """A guard. Once the schema is there it is not asked for again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._found = False

    async def require(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raises Unavailable. Where Postgres is away the request itself will find that out."""
        if self._found or handler.opt.get(PUBLIC) or method_of(connection) == "OPTIONS":
            return
        try:
            self._found = await is_migrated(self._db)
        except Unavailable:
            return
        if not self._found:
            raise Unavailable("The database is yet to be migrated for this release")
