"""The public keys of an identity provider (a JWK set), by their `kid`.

Only the provider's URL is ever asked, which is a setting; nothing in a token leads anywhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import msgspec
import structlog

from shared.errors import Unavailable

log = structlog.get_logger()

REFRESH_SECONDS = 300.0
"""A key that the provider withdraws is good for no longer, as long as the provider answers."""
PAUSE_SECONDS = 10.0
"""Between two requests to the provider, whatever tokens come: made-up key ids must not drive us."""
FETCH_SECONDS = 5.0
MAX_SET_BYTES = 256 * 1024
MAX_KEYS = 100
RSA_BITS = range(2048, 8192 + 1)

# The algorithm belongs to the key. A token can only fit it.
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y", "kid")
# ValueError: bytes that are no text, and names of hosts that are none.
FETCH_ERRORS = (
    *(httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError),
    *(msgspec.MsgspecError, ValueError, RecursionError),
)


class JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


class Keys:
    """`run()` keeps them fresh; an unknown `kid` has them fetched once more."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._client = httpx.AsyncClient(
            timeout=FETCH_SECONDS, headers={"Accept-Encoding": "identity"}
        )
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._turn = asyncio.Lock()
        self._asked_at = -PAUSE_SECONDS
        self._answered = False
        """The provider did, the last time it was asked."""

    async def run(self) -> None:
        """Until cancelled. While the provider is away what we have stays good."""
        while True:
            async with self._turn:
                if self._stays_good() <= 0:
                    await self._ask()
            await asyncio.sleep(self._stays_good())

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """None if the provider has no such key. Raises Unavailable if it can't be asked."""
        if kid not in self._keys:
            # Whoever waited here finds what the first one fetched, and asks no more.
            async with self._turn:
                if kid not in self._keys and self._clock() - self._asked_at >= PAUSE_SECONDS:
                    await self._ask()
        key = self._keys.get(kid)
        if key is None and not self._answered:
            raise Unavailable
        return key

    def _stays_good(self) -> float:
        """For how many seconds there is no need to ask, whoever did the last time."""
        after = REFRESH_SECONDS if self._answered else PAUSE_SECONDS
        return self._asked_at + after - self._clock()

    async def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                found = await self._fetch()
        except FETCH_ERRORS as error:
            self._answered = False
            log.warning("keys_not_fetched", error=type(error).__name__)
            return
        self._answered = True
        self._keys = parse_keys(found)
        log.info("keys_fetched", count=len(self._keys))

    async def _fetch(self) -> JwkSet:
        """Raises one of FETCH_ERRORS. A redirect is no answer."""
        async with self._client.stream("GET", self._url) as response:
            if not response.is_success:
                raise httpx.HTTPStatusError("not 200", request=response.request, response=response)
            body = bytearray()
            # Raw: what is compressed against our wish must not grow while it is read.
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_SET_BYTES:
                    raise httpx.DecodingError("too large", request=response.request)
        return msgspec.json.decode(body, type=JwkSet)

    async def aclose(self) -> None:
        await self._client.aclose()


def parse_keys(found: JwkSet) -> dict[str | None, jwt.PyJWK]:
    """Those we can use; of two with the same id the first."""
    keys: dict[str | None, jwt.PyJWK] = {}
    for members in found.keys[:MAX_KEYS]:
        try:
            key = _parse_key(members)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if key is not None:
            keys.setdefault(key.key_id, key)
    return keys


def _parse_key(members: dict[str, Any]) -> jwt.PyJWK | None:
    """None if it is for something else, too small or too large. Raises where it is no key."""
    algorithm = ALGORITHMS.get((members.get("kty"), members.get("crv")))  # pyright: ignore
    if algorithm is None or members.get("alg", algorithm) != algorithm:
        return None
    if members.get("use", "sig") != "sig" or "verify" not in members.get("key_ops", ["verify"]):
        return None
    if not isinstance(members.get("kid"), str | None):
        return None
    public = {name: members[name] for name in PUBLIC_MEMBERS if name in members}
    key = jwt.PyJWK(public, algorithm)
    if algorithm == "RS256" and key.key.key_size not in RSA_BITS:
        return None
    return key
