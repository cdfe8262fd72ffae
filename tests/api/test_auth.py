from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping

import jwt
import pytest
from httpx import AsyncClient
from litestar import Litestar
from pydantic import SecretStr

from api.app import create_app
from shared.errors import SettingsError
from shared.settings import Environment, Settings
from tests.api.talk import CONVERSATIONS, begin, expect_problem, messages_of, path_of
from tests.fixtures.people import Person, TokenFor
from tests.fixtures.settings import SECRET

pytestmark = pytest.mark.anyio

PAGE = {"/", "/c/{conversation_id}", "/assets/{name}", "/favicon.svg"}
OPEN = {
    "/health",
    "/health/ready",
    "/metrics",
    "/schema",
    "/schema/openapi.json",
    "/schema/{path}",
    *PAGE,
}
SOME_ID = "019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10"


def routes(app: Litestar) -> list[tuple[str, str]]:
    return [
        (method, route.path_format)
        for route in app.routes
        for method in sorted(getattr(route, "methods", ()))
        if method != "OPTIONS"
    ]


def part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def expect_refused(client: AsyncClient, authorization: str | None) -> None:
    headers = {b"Authorization": authorization.encode()} if authorization is not None else {}
    client.headers.pop("authorization", None)
    answer = await client.get(CONVERSATIONS, headers=list(headers.items()))
    expect_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_but_health_metrics_and_schema_wants_a_token(
    client: AsyncClient, app: Litestar
) -> None:
    client.headers.pop("authorization")
    assert {path for _, path in routes(app) if path in OPEN} == OPEN
    for method, path in routes(app):
        if path in OPEN:
            continue
        found = path.replace("{conversation_id}", SOME_ID).replace("{turn_id}", SOME_ID)
        found = found.replace("{message_id}", SOME_ID)
        for asked in (found, found + "/", found + "?health=/health", found.replace(SOME_ID, "x")):
            answer = await client.request(method, asked, content=b"{")
            expect_problem(answer, 401, "unauthorized")


async def test_a_path_that_only_sounds_open_is_not(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    for path in [
        *("/healthy", "/health/x", "/healthz", "/api/health", "/x/health", "/schemas"),
        f"{CONVERSATIONS}/health",
        f"{CONVERSATIONS}/{SOME_ID}/health/ready",
        "/api/chat/turns/schema",
        "/c",
        "/c/x",
        "/assets",
        "/index.html",
        "/nowhere",
    ]:
        expect_problem(await client.get(path), 401, "unauthorized")


async def test_a_method_that_is_not_there_is_told_only_to_those_with_a_token(
    client: AsyncClient,
) -> None:
    answer = await client.patch("/api/tasks")
    expect_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]
    client.headers.pop("authorization")
    expect_problem(await client.patch("/api/tasks"), 401, "unauthorized")


async def test_what_is_no_token_is_refused(client: AsyncClient) -> None:
    for authorization in [
        *(None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 9000),
        *("Bearer é", "Bearer null", "Token x"),
    ]:
        await expect_refused(client, authorization)


async def test_only_the_scheme_bearer_counts_in_any_case(
    client: AsyncClient, alice: Person
) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await client.get(
            CONVERSATIONS, headers={"Authorization": f"{scheme} {alice.token}"}
        )
        assert answer.status_code == 200
    for scheme in ("Basic", "JWT", "Bearer:"):
        await expect_refused(client, f"{scheme} {alice.token}")
    await expect_refused(client, alice.token)


async def test_two_tokens_are_one_too_many(client: AsyncClient, alice: Person, bob: Person) -> None:
    client.headers.pop("authorization")
    headers = [("Authorization", f"Bearer {who.token}") for who in (alice, bob)]
    expect_problem(await client.get(CONVERSATIONS, headers=headers), 401, "unauthorized")


async def test_a_token_with_a_wrong_claim_is_refused(
    client: AsyncClient, token_for: TokenFor
) -> None:
    wrong: list[dict[str, object]] = [
        *({"aud": "other"}, {"aud": None}, {"iss": "other"}, {"iss": None}, {"exp": None}),
        *({"exp": 1}, {"exp": "soon"}, {"exp": 1e300}, {"nbf": 4_102_444_800}),
        *({"iat": 4_102_444_800}, {"iat": "now"}, {"sub": None}, {"sub": ""}, {"sub": "  "}),
        *({"sub": "x" * 256}, {"sub": "a\0b"}, {"sub": "a\nb"}, {"sub": "a\x7fb"}),
        *({"sub": "\ud800"}, {"sub": "a\x85b"}),
    ]
    for claims in wrong:
        await expect_refused(client, f"Bearer {token_for('alice', **claims)}")


async def test_a_subject_that_is_not_a_text_is_refused(client: AsyncClient) -> None:
    claims: dict[str, object] = {
        "iss": "parley",
        "aud": "parley",
        "exp": int(time.time()) + 60,
    }
    header = part({"alg": "HS256", "typ": "JWT"})
    for subject in (1, ["alice"], {"a": 1}, True):
        signed = f"{header}.{part(claims | {'sub': subject})}"
        digest = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), SECRET.encode())
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        await expect_refused(client, f"Bearer {signed}.{signature}")


async def test_clocks_may_differ_by_half_a_minute(client: AsyncClient, token_for: TokenFor) -> None:
    for claims in ({"seconds": -20}, {"iat": time.time() + 20}, {"nbf": time.time() + 20}):
        token = token_for("alice", **claims)
        answer = await client.get(CONVERSATIONS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
    for claims in ({"seconds": -40}, {"iat": time.time() + 40}, {"nbf": time.time() + 40}):
        await expect_refused(client, f"Bearer {token_for('alice', **claims)}")


async def test_a_token_within_its_leeway_begets_nothing_that_ends_with_it(
    client: AsyncClient, token_for: TokenFor
) -> None:
    """A stream that ended at once would be opened again every two seconds."""
    path = path_of(await begin(client))
    late = {"Authorization": f"Bearer {token_for('alice', seconds=-5)}"}
    assert (await client.get(path, headers=late)).status_code == 200
    expect_problem(await client.get(f"{path}/events", headers=late), 401, "unauthorized")
    expect_problem(await client.post(f"{path}/tickets", headers=late), 401, "unauthorized")
    expect_problem(await client.post("/api/session", headers=late), 401, "unauthorized")


async def test_the_time_of_issue_may_be_missing_and_the_owner_may_be_any_word(
    client: AsyncClient, token_for: TokenFor
) -> None:
    for owner in ("alice", "auth0|5f7c8ec7c33c6c004bbafe82", "amélie", "山田", "x" * 255):
        token = token_for(owner, iat=None)
        answer = await client.get(CONVERSATIONS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


async def test_a_signature_of_another_kind_or_key_is_refused(
    client: AsyncClient, alice: Person
) -> None:
    claims: dict[str, object] = jwt.decode(alice.token, options={"verify_signature": False})
    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."
    other = jwt.encode(claims, SECRET + "x", algorithm="HS256")
    stronger = jwt.encode(claims, SECRET.ljust(64, "."), algorithm="HS512")
    header, payload, signature = alice.token.split(".")
    forged = f"{header}.{part(claims | {'sub': 'bob'})}.{signature}"
    stripped = f"{header}.{payload}."
    for token in (unsigned, other, stronger, forged, stripped):
        await expect_refused(client, f"Bearer {token}")


async def test_a_token_decides_who_the_owner_is(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    conversation = await begin(client)
    assert (await client.get(messages_of(conversation))).status_code == 200
    answer = await client.get(messages_of(conversation), headers=bob.headers)
    expect_problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    "secret",
    [
        *("", "short", "x" * 64, "abcabcabc" * 8, "é" * 15, "change-me-" * 6 + "0123456789"),
        *("a-string-secret-at-least-256-bits-long", "PLEASE-CHANGEME-0123456789-abcdefgh"),
    ],
)
def test_a_weak_secret_is_refused_at_the_start(settings: Settings, secret: str) -> None:
    changed = {"parley_env": Environment.production, "parley_jwt_secret": SecretStr(secret)}
    with pytest.raises(SettingsError, match="PARLEY_JWT_SECRET"):
        create_app(settings.model_copy(update=changed))


def test_a_strong_secret_will_do_in_production(settings: Settings) -> None:
    create_app(settings.model_copy(update={"parley_env": Environment.production}))


def test_development_takes_any_secret_but_none(settings: Settings) -> None:
    create_app(settings.model_copy(update={"parley_jwt_secret": SecretStr("x")}))
    with pytest.raises(SettingsError):
        create_app(settings.model_copy(update={"parley_jwt_secret": SecretStr("")}))
