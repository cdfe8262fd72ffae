"""Signed tokens that somebody made to look as if.

There is no database: to tell good ones from bad ones takes none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from httpx import AsyncClient

from api.app import create_app
from tests.api.talk import expect_problem
from tests.fixtures.http import speaking
from tests.fixtures.provider import asked, ec_key, ed_key, jwk_of, providing, rsa_key, sign
from tests.fixtures.settings import SECRET, lonely_settings

pytestmark = pytest.mark.anyio

KEY = rsa_key("a")
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[AsyncClient]:
    """Of an API that takes tokens by our secret and by three keys of a provider."""
    async with providing(
        jwk_of(KEY, "rsa"), jwk_of(ec_key("a"), "ec"), jwk_of(ed_key("a"), "ed")
    ) as (provider):
        app = create_app(lonely_settings(parley_jwks_url=provider.url))
        async with speaking(app) as found:
            await asked(provider)
            yield found


async def taken(client: AsyncClient, token: str) -> bool:
    """False where it is refused as every other is."""
    answer = await client.get("/api/session", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 200:
        return True
    expect_problem(answer, 401, "unauthorized")
    return False


def part(value: Mapping[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "alice", "iss": "parley", "aud": "parley", "iat": now, "exp": now + 600} | more


def forged(header: Mapping[str, Any], key: bytes | None = None) -> str:
    """Signed by hand with HS256, as libraries refuse to do; or not at all."""
    signed = f"{part({'typ': 'JWT', **header})}.{part(claims())}"
    signature = hmac.new(key, signed.encode(), hashlib.sha256).digest() if key else b""
    return f"{signed}.{part(signature)}"


async def test_what_is_signed_by_the_right_key_is_taken(client: AsyncClient) -> None:
    """Or the rest of this file would prove nothing."""
    assert await taken(client, forged({"alg": "HS256"}, SECRET.encode()))
    for kid, key in (("rsa", KEY), ("ec", ec_key("a")), ("ed", ed_key("a"))):
        assert await taken(client, sign(key, kid=kid))


async def test_a_token_without_a_signature_is_refused(client: AsyncClient) -> None:
    for alg in ("none", "None", "NONE", "nOnE", "", None, 0, [], ["HS256"], {"HS256": 1}):
        for kid in ({}, {"kid": "rsa"}):
            assert not await taken(client, forged({"alg": alg} | kid))
    for alg in ("HS256", "RS256"):
        assert not await taken(client, forged({"alg": alg, "kid": "rsa"}))


async def test_a_public_key_is_no_secret(client: AsyncClient) -> None:
    """HS256 over the bytes of the provider's RSA key, in each form somebody might hold it."""
    jwk = json.dumps(jwk_of(KEY, "rsa")).encode()
    for secret in (PEM, PEM.strip(), PEM.replace(b"\n", b""), DER, jwk):
        for kid in ({}, {"kid": "rsa"}):
            assert not await taken(client, forged({"alg": "HS256"} | kid, secret))


async def test_our_secret_signs_with_hs256_only(client: AsyncClient) -> None:
    long = SECRET.ljust(64, ".")
    for algorithm in ("HS384", "HS512"):
        assert not await taken(client, sign(long, algorithm=algorithm))
    for alg in ("RS256", "ES256", "EdDSA", "HS512", "hs256"):
        for kid in ({}, {"kid": "rsa"}):
            assert not await taken(client, forged({"alg": alg} | kid, SECRET.encode()))


async def test_a_key_is_good_for_its_own_algorithm_only(client: AsyncClient) -> None:
    for algorithm in ("RS384", "RS512", "PS256"):
        assert not await taken(client, sign(KEY, kid="rsa", algorithm=algorithm))
    for kid, other in (("rsa", ec_key("a")), ("ec", KEY), ("ed", ec_key("a")), ("ec", ed_key("a"))):
        assert not await taken(client, sign(other, kid=kid))


async def test_another_key_under_a_known_id_is_refused(client: AsyncClient) -> None:
    for kid, key in (("rsa", rsa_key("b")), ("ec", ec_key("b")), ("ed", ed_key("b"))):
        assert not await taken(client, sign(key, kid=kid))


async def test_a_key_that_the_token_brings_along_is_not_looked_at(client: AsyncClient) -> None:
    evil = rsa_key("b")
    async with providing(jwk_of(evil, "rsa")) as mine:
        for headers in (
            {"jwk": jwk_of(evil, "rsa")},
            {"jku": mine.url},
            {"x5u": mine.url},
            {"x5c": [base64.b64encode(DER).decode()]},
            {"jku": mine.url, "jwk": jwk_of(evil, "rsa"), "crit": ["jku"]},
        ):
            for kid in ("rsa", "unknown", mine.url, None):
                assert not await taken(client, sign(evil, kid=kid, headers=headers))
        assert mine.asked == 0


async def test_the_id_of_a_key_is_a_word_and_nothing_else(client: AsyncClient) -> None:
    for kid in (
        *("/dev/null", "../../../../dev/null", "file:///etc/passwd", "", " ", "null", "0"),
        *("' OR 1=1 --", "x'; DROP TABLE conversations; --", "http://127.0.0.1:1/keys", "é\x00"),
        *("__class__", "k" * 4000),
    ):
        assert not await taken(client, sign(rsa_key("b"), kid=kid))
        for secret in (b"\0", b"x", PEM):
            assert not await taken(client, forged({"alg": "HS256", "kid": kid}, secret))
            assert not await taken(client, forged({"alg": "RS256", "kid": kid}, secret))


async def test_the_id_of_a_key_must_be_a_text(client: AsyncClient) -> None:
    for kid in (None, 0, True, ["rsa"], {"rsa": 1}):
        assert not await taken(client, forged({"alg": "RS256", "kid": kid}, SECRET.encode()))
    assert not await taken(client, forged({"alg": "HS256", "kid": ["x"]}, SECRET.encode()))


async def test_a_huge_token_is_not_even_read(client: AsyncClient) -> None:
    for token in (
        sign(KEY, kid="k" * 1_000_000),
        sign(KEY, kid="rsa", padding="x" * 9000),
        forged({"alg": "HS256", "x": "y" * 9000}, SECRET.encode()),
        "." * 9000,
        "a." * 4500,
    ):
        assert not await taken(client, token)


async def test_a_header_that_is_no_header_is_refused(client: AsyncClient) -> None:
    body = part(claims())
    for head in (b"", b"[]", b"null", b"1", b"{", b"[" * 3000, b'{"alg":"HS256","alg":"none"}'):
        assert not await taken(client, f"{part(head)}.{body}.{part(b'x')}")
    for header in ({"alg": "HS256", "crit": ["x"], "x": 1}, {"alg": "HS256", "b64": False}):
        assert not await taken(client, forged(header, SECRET.encode()))


async def test_the_claims_count_whoever_signed(client: AsyncClient) -> None:
    wrong: list[dict[str, Any]] = [
        *({"exp": None}, {"exp": 1}, {"exp": "soon"}, {"exp": 1e300}, {"nbf": 4_102_444_800}),
        *({"iss": None}, {"iss": "other"}, {"iss": ""}, {"aud": None}, {"aud": "other"}),
        *({"sub": None}, {"sub": ""}, {"sub": "a\0b"}, {"sub": "\ud800"}, {"sub": "x" * 256}),
        *({"aud": []}, {"iat": 4_102_444_800}, {"exp": -1}),
    ]
    for changed in wrong:
        assert not await taken(client, sign(KEY, kid="rsa", **changed)), changed


async def test_clocks_may_differ_by_half_a_minute_both_ways(client: AsyncClient) -> None:
    now = int(time.time())
    for within in ({"exp": now - 20}, {"nbf": now + 20}, {"iat": now + 20}):
        assert await taken(client, sign(KEY, kid="rsa", **within))
    for beyond in ({"exp": now - 40}, {"nbf": now + 40}, {"iat": now + 40}):
        assert not await taken(client, sign(KEY, kid="rsa", **beyond))


async def test_an_owner_may_be_any_word_of_any_script(client: AsyncClient) -> None:
    for owner in ("amélie", "山田", "🙂", "auth0|5f7c", "' OR 1=1 --", "x" * 255):
        token = sign(KEY, sub=owner, kid="rsa")
        answer = await client.get("/api/session", headers={"Authorization": f"Bearer {token}"})
        assert answer.json()["user_id"] == owner


async def test_one_letter_of_a_token_makes_it_another(client: AsyncClient) -> None:
    for token in (sign(SECRET, algorithm="HS256"), sign(ec_key("a"), kid="ec")):
        header, payload, signature = token.split(".")
        changed = jwt.decode(token, options={"verify_signature": False}) | {"sub": "bob"}
        assert not await taken(client, f"{header}.{part(changed)}.{signature}")
        other = "A" if signature[0] != "A" else "B"
        assert not await taken(client, f"{header}.{payload}.{other}{signature[1:]}")
        assert not await taken(client, f"{header}.{payload}.{signature}.{signature}")
        assert not await taken(client, f"{header}.{payload}")
