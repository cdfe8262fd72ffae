"""Which keys of a set we use, and where we would fetch one."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar

from api.app import create_app
from api.keys import JwkSet, parse_keys
from shared.errors import SettingsError
from shared.settings import Environment, Settings
from tests.fixtures.provider import ec_key, jwk_of, rsa_key


def parsed(*keys: dict[str, Any]) -> set[str | None]:
    return set(parse_keys(JwkSet(list(keys))))


def test_keys_for_other_things_and_of_other_kinds_are_left_out() -> None:
    good = jwk_of(rsa_key("a"), "good")
    assert parsed(good) == {"good"}
    assert parsed(jwk_of(rsa_key("a"), "x", alg=None, use=None)) == {"x"}
    assert parsed(jwk_of(rsa_key("a"), None)) == {None}
    assert parsed(jwk_of(rsa_key("a"), "x", key_ops=["verify"])) == {"x"}
    wrong: list[dict[str, Any]] = [
        *({"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"alg": "none"}, {"alg": ["RS256"]}),
        *({"kid": 7}, {"kid": ["x"]}, {"n": "?"}, {"n": ""}, {"e": None, "n": None}, {"kty": "EC"}),
        *({"kty": "oct", "k": "c2VjcmV0"}, {"kty": []}, {"crv": {}}, {"key_ops": ["encrypt"]}),
        {"key_ops": 1},
    ]
    for members in wrong:
        assert parsed(good | members) == set(), members
    assert parsed({}, {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"}) == set()
    assert parsed(jwk_of(rsa_key("weak", 1024), "weak")) == set()
    assert parsed(jwk_of(ec_key("a"), "x") | {"crv": "P-384"}) == set()


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    found = parse_keys(JwkSet([jwk_of(ec_key("a"), "x"), jwk_of(rsa_key("a"), "x")]))
    assert found["x"].algorithm_name == "ES256"


@pytest.mark.parametrize(
    "url",
    [
        *("http://idp.example.org/keys", "file:///etc/passwd", "ftp://idp/keys", "idp/keys", "x"),
        *(
            "https://",
            "https://user:word@idp/keys",
            "https://idp/keys#x",
            "https://idp:x/",
            "data:,",
        ),
    ],
)
def test_an_address_that_is_not_safe_is_refused_at_the_start(alone: Settings, url: str) -> None:
    changed = {"parley_env": Environment.production, "parley_jwks_url": url}
    with pytest.raises(SettingsError, match="PARLEY_JWKS_URL"):
        create_app(alone.model_copy(update=changed))


def app_with(settings: Settings, env: Environment, url: str) -> Litestar:
    return create_app(settings.model_copy(update={"parley_env": env, "parley_jwks_url": url}))


def test_only_development_takes_a_provider_without_tls(alone: Settings) -> None:
    app_with(alone, Environment.production, "https://idp.example.org/keys")
    app_with(alone, Environment.development, "http://127.0.0.1:1/keys")
    with pytest.raises(SettingsError):
        app_with(alone, Environment.development, "file:///etc/passwd")
