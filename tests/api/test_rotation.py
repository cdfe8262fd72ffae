"""Secrets are replaced while their holders go on: for a time two of them open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from api.app import create_app
from shared.errors import SettingsError
from shared.settings import Environment, Settings
from tests.api.test_sessions import expect_owner, expect_refused
from tests.fixtures.http import speaking
from tests.fixtures.people import make_token
from tests.fixtures.settings import SECRET, SERVICE_TOKEN

pytestmark = pytest.mark.anyio

NEW, NEW_SERVICE = (
    "another secret, made today 9876543210",
    "the-word-of-today-9876543210-abcdefghij",
)
JWT, JWT_BEFORE = "parley_jwt_secret", "parley_jwt_previous_secret"
SERVICE, SERVICE_BEFORE = "service_auth_token", "service_auth_previous_token"
ALICE = {"X-User-Id": "alice"}


def with_secrets(settings: Settings, **secrets: str) -> Settings:
    return settings.model_copy(update={k: SecretStr(v) for k, v in secrets.items()})


@asynccontextmanager
async def api(settings: Settings, **secrets: str) -> AsyncGenerator[AsyncClient]:
    async with speaking(create_app(with_secrets(settings, **secrets))) as client:
        yield client


async def test_tokens_of_both_secrets_are_good_until_the_old_one_is_taken_away(
    settings: Settings,
) -> None:
    old, new = (make_token(with_secrets(settings, **{JWT: s}), "alice") for s in (SECRET, NEW))
    # As the rollout goes: those who have not heard of the new one refuse it, so it is used later.
    async with api(settings) as client:
        await expect_owner(client, "alice", old)
        await expect_refused(client, new)
    async with api(settings, **{JWT: NEW, JWT_BEFORE: SECRET}) as client:
        await expect_owner(client, "alice", old)
        await expect_owner(client, "alice", new)
    async with api(settings, **{JWT: NEW}) as client:
        await expect_refused(client, old)
        await expect_owner(client, "alice", new)


async def test_both_service_tokens_are_good_until_the_old_one_is_taken_away(
    settings: Settings,
) -> None:
    async with api(settings, **{SERVICE: NEW_SERVICE, SERVICE_BEFORE: SERVICE_TOKEN}) as client:
        await expect_owner(client, "alice", SERVICE_TOKEN, **ALICE)
        await expect_owner(client, "alice", NEW_SERVICE, **ALICE)
    async with api(settings, **{SERVICE: NEW_SERVICE}) as client:
        await expect_refused(client, SERVICE_TOKEN, **ALICE)
        await expect_owner(client, "alice", NEW_SERVICE, **ALICE)


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        ({JWT_BEFORE: "hunter2"}, "PARLEY_JWT_PREVIOUS_SECRET: the secret must have"),
        ({SERVICE: NEW_SERVICE, SERVICE_BEFORE: "hunter2"}, "SERVICE_AUTH_PREVIOUS_TOKEN: the"),
        ({SERVICE_BEFORE: NEW_SERVICE}, "SERVICE_AUTH_PREVIOUS_TOKEN: there is none"),
        ({JWT: "", SERVICE: NEW_SERVICE, JWT_BEFORE: SECRET}, "PREVIOUS_SECRET: there is none"),
        ({SERVICE: NEW_SERVICE, JWT_BEFORE: NEW_SERVICE}, "it must not be the JWT secret too"),
        ({SERVICE: NEW_SERVICE, SERVICE_BEFORE: SERVICE_TOKEN + "é"}, "visible ASCII"),
    ],
)
def test_what_was_good_before_must_be_as_strong(
    alone: Settings, secrets: dict[str, str], told: str
) -> None:
    strict = alone.model_copy(update={"parley_env": Environment.production})
    with pytest.raises(SettingsError, match=told):
        create_app(with_secrets(strict, **secrets))
