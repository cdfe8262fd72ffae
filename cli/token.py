"""Development tokens: what an identity provider would issue, made from the shared secret."""

from __future__ import annotations

import os
import time

import jwt

from cli.data_dir import DataDir
from cli.errors import TokenError

DEFAULT_USER = "developer"
DEFAULT_TTL_SECONDS = 12 * 3600
USER_MAX_CHARS = 255


def make_token(user: str, secret: str, ttl_seconds: int = DEFAULT_TTL_SECONDS) -> str:
    if not user.strip():
        raise TokenError("The user must not be empty")
    if len(user) > USER_MAX_CHARS:
        raise TokenError(f"The user must have at most {USER_MAX_CHARS} characters")
    if ttl_seconds < 1:
        raise TokenError("--ttl must be at least 1 second")
    now = int(time.time())
    claims = {
        "sub": user,
        "iat": now,
        "exp": now + ttl_seconds,
        "iss": os.environ.get("PARLEY_JWT_ISSUER") or "parley",
        "aud": os.environ.get("PARLEY_JWT_AUDIENCE") or "parley",
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def find_secret(data: DataDir) -> str:
    """The secret of a development set-up: from the environment, or made by `up`.

    A server without PARLEY_ENV counts as production. Here a secret in the data directory is proof
    enough of development: only `parley up` writes it.
    """
    if os.environ.get("PARLEY_ENV") == "production":
        raise TokenError("PARLEY_ENV is production: tokens come from your identity provider")
    if given := os.environ.get("PARLEY_JWT_SECRET"):
        return given
    if made := data.secret():
        return made
    raise TokenError(
        f"There is no secret in {data.root}: run `parley up` first, "
        "name its directory with --data-dir, or set PARLEY_JWT_SECRET"
    )
