"""Bearer token -> Principal, or 401.

Every route asks for a token unless its handler says `opt={PUBLIC: True}`: forgetting it locks a
route instead of opening it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.errors import SettingsError, Unauthorized
from shared.settings import Environment, Settings
from shared.text import is_storable

PUBLIC = "public"
ALGORITHM = "HS256"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 8 * 1024
MAX_OWNER_CHARS = 255
MIN_SECRET_BYTES = 32
MIN_SECRET_CHARACTERS = 8

# What stands in examples and tutorials is known to everybody, however long it is.
WELL_KNOWN = (
    *("changeme", "change-me", "change_me", "change this", "example", "placeholder"),
    *("your-secret", "your_secret", "your-256-bit-secret", "a-string-secret-at-least-256-bits"),
)

Connection = ASGIConnection[Any, Any, Any, Any]


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and until when the token says so."""

    owner: str
    expires_at: datetime


class Tokens:
    """Checks the tokens of one secret."""

    def __init__(self, settings: Settings) -> None:
        _refuse_weak_secret(settings)
        self._secret = settings.parley_jwt_secret.get_secret_value()
        self._issuer = settings.parley_jwt_issuer
        self._audience = settings.parley_jwt_audience

    def principal(self, connection: Connection) -> Principal:
        """Raises Unauthorized; which check failed is nobody's business but ours."""
        given = connection.headers.getall("authorization", [])
        if len(given) != 1:
            raise Unauthorized
        scheme, _, token = given[0].partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized
        try:
            return self._read(token)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, OSError):
            raise Unauthorized from None

    def _read(self, token: str) -> Principal:
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[ALGORITHM],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
        owner = claims["sub"]
        if not _is_owner(owner):
            raise Unauthorized
        expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
        return Principal(owner, expires_at)

    def require(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard of the whole application. OPTIONS tells only which methods there are."""
        if handler.opt.get(PUBLIC) or _method(connection) == "OPTIONS":
            return
        connection.scope["user"] = self.principal(connection)


def _method(connection: Connection) -> str:
    method: str = connection.scope.get("method", "")  # pyright: ignore[reportUnknownMemberType]
    return method


def _is_owner(owner: object) -> bool:
    if not isinstance(owner, str) or not owner.strip() or len(owner) > MAX_OWNER_CHARS:
        return False
    controls = any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in owner)
    return not controls and is_storable(owner)


def _refuse_weak_secret(settings: Settings) -> None:
    """Raises SettingsError. In development any secret will do, but there must be one."""
    secret = settings.parley_jwt_secret.get_secret_value()
    problem = _weakness(secret)
    if not secret or (problem and settings.parley_env is not Environment.development):
        raise SettingsError([f"PARLEY_JWT_SECRET: {problem}"])


def _weakness(secret: str) -> str | None:
    if not secret:
        return "there is no secret to check tokens with"
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"the secret must have at least {MIN_SECRET_BYTES} bytes"
    if len(set(secret)) < MIN_SECRET_CHARACTERS:
        return f"the secret must have at least {MIN_SECRET_CHARACTERS} different characters"
    if any(known in secret.lower() for known in WELL_KNOWN):
        return "the secret is one of those that stand in examples"
    return None
