"""Signed tokens (JWT) -> owner and expiry.

The key decides the algorithm: our secret is for HS256 and nothing else, the keys of the identity
provider are for their own. A token's header only says which door to try.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import jwt

from api.keys import ALGORITHMS, Keys
from shared.errors import Unauthorized
from shared.settings import Settings
from shared.text import is_storable

SECRET_ALGORITHM = "HS256"  # noqa: S105
LEEWAY_SECONDS = 30
MAX_OWNER_CHARS = 255
TOKEN_ERRORS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, OSError)


def header_of(token: str) -> dict[str, Any] | None:
    """What a token says of itself; None if it is not in the form of a signed one."""
    if token.count(".") != 2:
        return None
    try:
        return jwt.get_unverified_header(token)
    except TOKEN_ERRORS:
        return None


def is_owner(owner: object) -> bool:
    """Whether this can be the name of an owner: a text that every part of the house can hold."""
    if not isinstance(owner, str) or not owner.strip() or len(owner) > MAX_OWNER_CHARS:
        return False
    controls = any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in owner)
    return not controls and is_storable(owner)


class Tokens:
    def __init__(self, settings: Settings, keys: Keys | None) -> None:
        # The one of before is good for as long as it is set.
        secrets = (settings.parley_jwt_secret, settings.parley_jwt_previous_secret)
        self._secrets = [value for each in secrets if (value := each.get_secret_value())]
        self._keys = keys
        self._issuer = settings.parley_jwt_issuer
        self._audience = settings.parley_jwt_audience

    async def read(self, token: str, header: dict[str, Any]) -> tuple[str, datetime]:
        """The owner, and until when. Raises Unauthorized, or Unavailable where the key is unknown
        and the provider doesn't answer.
        """
        if header.get("alg") == SECRET_ALGORITHM:
            return self._of_secret(token)
        if self._keys is None or header.get("alg") not in ALGORITHMS.values():
            raise Unauthorized
        key = await self._keys.find(header.get("kid"))
        if key is None:
            raise Unauthorized
        return self._check(token, key, key.algorithm_name)

    def _of_secret(self, token: str) -> tuple[str, datetime]:
        for secret in self._secrets:
            with suppress(Unauthorized):
                return self._check(token, secret, SECRET_ALGORITHM)
        raise Unauthorized

    def _check(self, token: str, key: str | jwt.PyJWK, algorithm: str) -> tuple[str, datetime]:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
            owner = claims["sub"]
            if not is_owner(owner):
                raise Unauthorized
            return owner, datetime.fromtimestamp(float(claims["exp"]), UTC)
        except TOKEN_ERRORS:
            raise Unauthorized from None
