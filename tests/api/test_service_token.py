"""The service token: whoever has it acts for the user they name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient
from litestar import Litestar
from pydantic import SecretStr

from api.app import create_app
from shared.errors import SettingsError
from shared.settings import Environment, Settings
from tests.api.talk import CONVERSATIONS, expect_problem
from tests.api.test_sessions import bearer, expect_owner, expect_refused, who
from tests.fixtures.http import speaking
from tests.fixtures.people import Person
from tests.fixtures.sessions import TABLE, Sessions
from tests.fixtures.settings import SERVICE_TOKEN as SERVICE

pytestmark = pytest.mark.anyio

WITH_SESSIONS = {"parley_sessions_table": TABLE}
WITH_SERVICE = {"service_auth_token": SecretStr(SERVICE)}


@pytest.fixture
def app(settings: Settings) -> Litestar:
    """One that has every way in but the identity provider."""
    return create_app(settings.model_copy(update=WITH_SESSIONS | WITH_SERVICE))


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncClient]:
    async with speaking(app) as found:
        yield found


async def test_the_service_token_acts_for_the_user_it_names(client: AsyncClient) -> None:
    await expect_owner(client, "alice", SERVICE, **{"X-User-Id": "alice"})
    await expect_owner(client, "bob", SERVICE, **{"x-user-id": "bob"})
    answer = await who(client, SERVICE, **{"X-User-Id": "山田"})
    assert answer.json() == {"user_id": "山田", "expires_at": None}


async def test_the_service_token_needs_one_user(client: AsyncClient) -> None:
    given: list[list[bytes]] = [
        *([], [b""], [b" "], [b"a", b"b"], [b"a", b"a"], [b"x" * 256], [b"a\x7fb"], [b"\xff"])
    ]
    for users in given:
        headers = [(b"Authorization", f"Bearer {SERVICE}".encode())]
        headers += [(b"X-User-Id", user) for user in users]
        answer = await client.get(CONVERSATIONS, headers=headers)
        problem = expect_problem(answer, 400, "invalid_request")
        assert problem["errors"] == [{"field": "X-User-Id", "message": "Must name one user"}]


async def test_the_service_token_does_not_open_the_path_of_another(client: AsyncClient) -> None:
    headers = bearer(SERVICE, **{"X-User-Id": "alice"})
    answer = await client.get("/api/v1/alice/conversations", headers=headers)
    assert answer.status_code == 200
    answer = await client.get("/api/v1/bob/conversations", headers=headers)
    expect_problem(answer, 403, "forbidden")


async def test_nobody_else_can_act_for_anybody(
    client: AsyncClient, sessions: Sessions, alice: Person
) -> None:
    token = await sessions.add("token", "alice")
    for given in (alice.token, token):
        await expect_owner(client, "alice", given, **{"X-User-Id": "bob"})
    expect_problem(
        await client.get("/api/session", headers={"X-User-Id": "bob"}), 401, "unauthorized"
    )


async def test_what_is_almost_the_service_token_is_refused(
    client: AsyncClient, sessions: Sessions
) -> None:
    for token in (SERVICE[:-1], SERVICE + "x", SERVICE.upper(), "é" + SERVICE[1:]):
        await expect_refused(client, token, **{"X-User-Id": "alice"})


async def test_without_the_setting_there_is_no_service_token(settings: Settings) -> None:
    async with speaking(create_app(settings)) as client:
        for token in ("x", SERVICE, ""):
            await expect_refused(client, token, **{"X-User-Id": "alice"})


@pytest.mark.parametrize(
    "changed",
    [
        WITH_SERVICE,
        WITH_SESSIONS,
        {"parley_jwks_url": "https://idp.example.org/keys"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_one_way_in_is_enough(alone: Settings, changed: dict[str, Any]) -> None:
    closed = {"parley_env": Environment.production, "parley_jwt_secret": SecretStr("")}
    with pytest.raises(SettingsError, match="there is no way in"):
        create_app(alone.model_copy(update=closed))
    create_app(alone.model_copy(update=closed | changed))


@pytest.mark.parametrize(
    "token", ["short", "x" * 64, "change-me-to-something-0123456789", "ünï" * 20, "a b" * 20]
)
def test_a_weak_service_token_is_refused_at_the_start(alone: Settings, token: str) -> None:
    changed = {"parley_env": Environment.production, "service_auth_token": SecretStr(token)}
    with pytest.raises(SettingsError, match="SERVICE_AUTH_TOKEN"):
        create_app(alone.model_copy(update=changed))


def test_what_travels_is_not_what_signs(alone: Settings) -> None:
    one = SecretStr(SERVICE)
    with pytest.raises(SettingsError, match="SERVICE_AUTH_TOKEN"):
        create_app(alone.model_copy(update={"service_auth_token": one, "parley_jwt_secret": one}))
