"""Who asks? A bearer token, a browser's cookie, or a ticket for one stream -> Principal, or 401.

Every route asks for it unless its handler says `opt={PUBLIC: True}`: forgetting it locks a route
instead of opening it.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from api.cookies import Connection, Cookies, hash_of, method_of
from api.keys import Keys
from api.standing import Standing
from api.tokens import Tokens, header_of, is_owner
from shared.access import Access
from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import FieldError, InvalidRequest, RequestError, Unauthorized
from shared.settings import Settings
from shared.store.browser_sessions import find_session
from shared.store.tickets import use_ticket

PUBLIC = "public"
TICKETS = "tickets"
"""`opt={TICKETS: True}`: the route also takes a ticket of its conversation."""
USER_HEADER = "X-User-Id"
MAX_TOKEN_BYTES = 8 * 1024
MAX_OPAQUE_CHARS = 512
REFUSED = "refused"


class Principal(msgspec.Struct, frozen=True):
    """Who asks, until when at most, and what that hangs on meanwhile."""

    owner: str
    expires_at: datetime | None
    """None: what they came with has no end."""
    access: Access = Access()

    @property
    def expired(self) -> bool:
        """Clocks differ, so a token is taken a little longer. But it begets nothing any more that
        would end with it: a stream, a ticket, a cookie.
        """
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class Doors:
    """Every way in, as far as the settings open it.

    Signed tokens are checked without a look at the database: theirs is the common path.
    """

    def __init__(
        self, settings: Settings, db: Database, keys: Keys | None, standing: Standing
    ) -> None:
        self.cookies = Cookies(settings)
        self._db = db
        self._tokens = Tokens(settings, keys)
        services = (settings.service_auth_token, settings.service_auth_previous_token)
        self._services = [value.encode() for each in services if (value := each.get_secret_value())]
        self._standing = standing

    async def require(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard of the whole application. OPTIONS runs none of our handlers."""
        if handler.opt.get(PUBLIC) or method_of(connection) == "OPTIONS":
            return
        if handler.opt.get(TICKETS) and "ticket" in connection.query_params:
            found = await self._of_ticket(connection)
        else:
            found = await self.principal(connection)
        connection.scope["user"] = found

    async def require_without_route(self, error: Exception, scope: Scope) -> None:  # noqa: ARG002
        """Where no route was found no guard has run. Nobody learns without a token which routes
        there are: the error handler answers what is left here instead.
        """
        if "route_handler" in scope or scope["type"] != "http":
            return
        try:
            await self.principal(Connection(scope))
        except RequestError as refused:
            scope["state"][REFUSED] = refused

    async def principal(self, connection: Connection) -> Principal:
        """Raises Unauthorized; which check failed is nobody's business but ours.

        Raises OriginRefused for a cookie that another site may have sent, InvalidRequest for the
        service token without a user, and Unavailable where nobody can tell.
        """
        given = connection.headers.getall("authorization", [])
        if not given:
            return await self._of_cookie(connection)
        if len(given) != 1:
            raise Unauthorized
        scheme, _, token = given[0].partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized
        if any(hmac.compare_digest(token.encode(), service) for service in self._services):
            return _of_service(connection)
        if (header := header_of(token)) is not None:
            owner, expires_at = await self._tokens.read(token, header)
            return Principal(owner, expires_at)
        return await self._of_session(token)

    async def _of_session(self, token: str) -> Principal:
        if len(token) > MAX_OPAQUE_CHARS or not token.isascii():
            raise Unauthorized
        found = await self._standing.session(token)
        if found is None or not is_owner(found.user_id):
            raise Unauthorized
        return Principal(found.user_id, found.expires_at, Access(session_id=found.id))

    async def _of_cookie(self, connection: Connection) -> Principal:
        id_hash = self.cookies.read(connection)
        if id_hash is None:
            raise Unauthorized
        self.cookies.check_origin(connection)
        async with self._db.snapshot(EVERYONE) as tx:
            found = await find_session(tx, id_hash)
        if found is None or await self._standing.lost({Access(found.access.session_id)}):
            raise Unauthorized
        return Principal(found.owner, found.expires_at, found.access)

    async def _of_ticket(self, connection: Connection) -> Principal:
        """A ticket that comes with a token is refused: one of the two is a mistake. A cookie comes
        by itself and counts for nothing.
        """
        given = connection.query_params.getall("ticket")
        conversation_id: UUID = connection.path_params["conversation_id"]
        if "authorization" in connection.headers or len(given) != 1:
            raise Unauthorized
        async with self._db.transaction(EVERYONE) as tx:
            found = await use_ticket(tx, hash_of(given[0]), conversation_id)
        if found is None or await self._standing.lost({found.access}):
            raise Unauthorized
        return Principal(found.owner, found.expires_at, found.access)


def _of_service(connection: Connection) -> Principal:
    """Whoever has the service token acts for the user they name; nobody else can."""
    given = connection.headers.getall(USER_HEADER, [])
    try:
        # As other texts on the wire; the server has decoded the bytes one by one.
        owner = given[0].encode("latin-1").decode() if len(given) == 1 else ""
    except UnicodeError:
        owner = ""
    if not is_owner(owner):
        raise InvalidRequest(
            "The service token acts for one user, who must be named in a header.",
            [FieldError(USER_HEADER, "Must name one user")],
        )
    return Principal(owner, None)
