"""What browsers are told with every answer: what they may do with it, and who may read it.

Origins are compared letter by letter. Whoever isn't named gets no word of CORS at all, and then
the browser keeps the answer from the page that asked.
"""

from __future__ import annotations

import re

from litestar.types import HTTPScope

from shared.errors import SettingsError
from shared.settings import Settings

Headers = list[tuple[bytes, bytes]]

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ON_ALL = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": API_POLICY.encode(),
    # For those who embed without asking (CORS); pages of named origins fetch, and ask.
    b"cross-origin-resource-policy": b"same-origin",
}
ON_PAGES = {
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), display-capture=(), geolocation=(), microphone=(), "
    b"payment=(), usb=()",
}
METHODS = b"GET, POST, PUT, PATCH, DELETE"
# Not `X-User-Id`: who acts for others does so from a server.
MAY_SEND = (
    b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id, "
    b"MCP-Protocol-Version, Mcp-Method, Mcp-Name, Traceparent"
)
MAY_READ = b"Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = b"600"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")


class Browsers:
    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where an origin is none, a wildcard for one."""
        origins = settings.cors_origins
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise SettingsError(
                ["PARLEY_CORS_ORIGINS: name each origin as scheme://host[:port], in lower case"]
            )
        self._origins = frozenset(origin.encode() for origin in origins)
        self._hsts = settings.parley_hsts_seconds

    def asks_first(self, scope: HTTPScope) -> bool:
        """A preflight of a named origin: answered for every path alike."""
        asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
        return scope["method"] == "OPTIONS" and asks and self._named(scope) is not None

    def preflight(self) -> Headers:
        return [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", MAY_SEND),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]

    def headers(self, scope: HTTPScope, given: Headers) -> Headers:
        """An answer's headers, completed; those it has of its own stand."""
        names = {name for name, _ in given}
        page = any(
            name == b"content-type" and value.startswith(b"text/html") for name, value in given
        )
        wanted = ON_ALL | ON_PAGES if page else ON_ALL
        headers = given + [(name, value) for name, value in wanted.items() if name not in names]
        if self._hsts:
            headers.append((b"strict-transport-security", b"max-age=%d" % self._hsts))
        if self._origins:
            headers.append((b"vary", b"Origin"))
        origin = self._named(scope)
        if origin is not None:
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", MAY_READ),
            ]
        return headers

    def _named(self, scope: HTTPScope) -> bytes | None:
        given = [value for name, value in scope["headers"] if name == b"origin"]
        return given[0] if len(given) == 1 and given[0] in self._origins else None
