"""The cookie of a browser session, and the rules that keep other sites from using it.

The cookie holds a random id; the row has its hash. A browser sends the cookie by itself, so what
comes with it must also say that it comes from a page of ours.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from shared.errors import OriginRefused, Unauthorized
from shared.settings import Environment, Settings

PLAIN_NAME = "parley_session"
NAME = f"__Host-{PLAIN_NAME}"
"""Browsers take a cookie of this name only over TLS and from this very host."""
ID_BYTES = 32
MAX_ID_CHARS = 128
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
DEFAULT_PORTS = {"https": ":443", "http": ":80"}

Connection = ASGIConnection[Any, Any, Any, Any]


def new_secret() -> str:
    """Random, for a cookie or a ticket; only `hash_of` it is stored."""
    return secrets.token_urlsafe(ID_BYTES)


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def method_of(connection: Connection) -> str:
    method: str = connection.scope.get("method", "")  # pyright: ignore[reportUnknownMemberType]
    return method


class Cookies:
    def __init__(self, settings: Settings) -> None:
        self._development = settings.parley_env is Environment.development
        self._origins = {origin.lower().rstrip("/") for origin in settings.cors_origins}

    def read(self, connection: Connection) -> bytes | None:
        """The hash of the id in the cookie; None without one. Raises Unauthorized if it is not
        one, or not the only one.
        """
        name = self._name(connection)
        pairs = [
            pair.strip().partition("=")
            for header in connection.headers.getall("cookie", [])
            for pair in header.split(";")
        ]
        found = [value for key, _, value in pairs if key == name]
        if not found:
            return None
        if len(found) > 1 or not 0 < len(found[0]) <= MAX_ID_CHARS:
            raise Unauthorized
        return hash_of(found[0])

    def make(self, connection: Connection, session_id: str, expires_at: datetime) -> Cookie:
        left = int((expires_at - datetime.now(UTC)).total_seconds())
        return self._cookie(connection, session_id, max(0, left))

    def clear(self, connection: Connection) -> Cookie:
        return self._cookie(connection, "", 0)

    def check_origin(self, connection: Connection) -> None:
        """Raises OriginRefused for what another site may have made the browser send."""
        headers = connection.headers
        if headers.get("sec-fetch-site", "").lower() == "cross-site":
            raise OriginRefused
        if method_of(connection) in SAFE_METHODS:
            return
        if not self.names_known_origin(connection):
            raise OriginRefused

    def names_known_origin(self, connection: Connection) -> bool:
        """Whether it says, once, that it comes from here or from an origin that is allowed."""
        return self._names(connection, self._origins)

    def names_own_origin(self, connection: Connection) -> bool:
        """The same, and it comes from here."""
        return self._names(connection, set())

    def _names(self, connection: Connection, others: set[str]) -> bool:
        headers = connection.headers
        given, hosts = headers.getall("origin", []), headers.getall("host", [])
        if len(given) != 1 or len(hosts) != 1:
            return False
        return given[0].lower() in others | self._own(hosts[0].lower())

    def _own(self, host: str) -> set[str]:
        """Where the TLS ends before us we see none of it: outside of development all is https."""
        schemes = ("https", "http") if self._development else ("https",)
        return {f"{scheme}://{host.removesuffix(DEFAULT_PORTS[scheme])}" for scheme in schemes}

    def _cookie(self, connection: Connection, value: str, max_age: int) -> Cookie:
        name = self._name(connection)
        return Cookie(
            key=name,
            value=value,
            max_age=max_age,
            path="/",
            secure=name == NAME,
            httponly=True,
            # The pages themselves need no cookie, so nothing is lost by the strictest rule.
            samesite="strict",
        )

    def _name(self, connection: Connection) -> str:
        plain = self._development and connection.scope["scheme"] != "https"
        return PLAIN_NAME if plain else NAME
