"""Tokens of an identity provider, whose keys come and go. There is no database: none is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from httpx import AsyncClient, Response

from api.app import create_app
from api.keys import MAX_SET_BYTES, PAUSE_SECONDS, Keys
from shared.errors import Unavailable
from shared.settings import Settings
from tests.api.talk import expect_problem
from tests.fixtures.http import speaking
from tests.fixtures.people import make_token
from tests.fixtures.provider import (
    PrivateKey,
    Provider,
    algorithm_of,
    answer_with,
    asked,
    ec_key,
    ed_key,
    jwk_of,
    providing,
    rsa_key,
    sign,
)
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(provider: Provider, clock: Clock) -> AsyncIterator[Keys]:
    """Fetched only where somebody asks for one."""
    found = Keys(provider.url, clock)
    yield found
    await found.aclose()


@pytest.fixture
def token(alone: Settings) -> str:
    """By our secret."""
    return make_token(alone, "alice")


@asynccontextmanager
async def trusting(
    provider: Provider, settings: Settings, **changed: Any
) -> AsyncGenerator[AsyncClient]:
    """An API that takes the provider's tokens, once it has its keys."""
    app = create_app(settings.model_copy(update={"parley_jwks_url": provider.url} | changed))
    async with speaking(app) as client:
        await asked(provider)
        yield client


async def ask(client: AsyncClient, token: str) -> Response:
    return await client.get("/api/session", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("key", [rsa_key("a"), ec_key("a"), ed_key("a")], ids=algorithm_of)
async def test_a_token_signed_by_the_provider_is_taken(
    provider: Provider, alone: Settings, key: PrivateKey
) -> None:
    provider.keys = [jwk_of(key, "one")]
    async with trusting(provider, alone) as client:
        answer = await ask(client, sign(key, sub="bob", kid="one"))
        assert (answer.status_code, answer.json()["user_id"]) == (200, "bob")


async def test_no_secret_is_needed_where_there_is_a_provider(
    provider: Provider, alone: Settings, token: str
) -> None:
    provider.keys = [jwk_of(ec_key("a"), "one")]
    without = type(alone.parley_jwt_secret)("")
    async with trusting(provider, alone, parley_jwt_secret=without) as client:
        assert (await ask(client, sign(ec_key("a"), kid="one"))).status_code == 200
        expect_problem(await ask(client, token), 401, "unauthorized")
    assert provider.asked == 1


async def test_the_secret_and_the_provider_work_side_by_side(
    provider: Provider, alone: Settings, token: str
) -> None:
    provider.keys = [jwk_of(ed_key("a"), "one")]
    async with trusting(provider, alone) as client:
        assert (await ask(client, token)).status_code == 200
        assert (await ask(client, sign(ed_key("a"), kid="one"))).status_code == 200
    assert provider.asked == 1


async def test_a_rotated_key_is_fetched_once_it_is_used(
    provider: Provider, keys: Keys, clock: Clock
) -> None:
    provider.keys = [jwk_of(ec_key("old"), "old")]
    assert await keys.find("old") is not None
    provider.keys = [jwk_of(ec_key("new"), "new")]
    clock.now += PAUSE_SECONDS
    assert await keys.find("new") is not None
    assert await keys.find("old") is None
    assert provider.asked == 2


async def test_made_up_key_ids_do_not_drive_us_to_the_provider(
    provider: Provider, keys: Keys, clock: Clock
) -> None:
    provider.keys = [jwk_of(ec_key("a"), "one")]
    found = await asyncio.gather(*(keys.find(f"made up {number}") for number in range(50)))
    assert found == [None] * 50
    assert provider.asked == 1
    clock.now += PAUSE_SECONDS - 0.1
    await keys.find("another")
    assert provider.asked == 1
    clock.now += 0.2
    await keys.find("another")
    assert provider.asked == 2
    assert await keys.find("one") is not None


async def test_a_known_key_is_good_while_the_provider_is_away(
    provider: Provider, keys: Keys, clock: Clock
) -> None:
    provider.keys = [jwk_of(ec_key("a"), "one")]
    assert await keys.find("one") is not None
    await provider.stop()
    clock.now += PAUSE_SECONDS
    with pytest.raises(Unavailable):
        await keys.find("unknown")
    assert await keys.find("one") is not None
    await provider.start()
    clock.now += PAUSE_SECONDS
    assert await keys.find("unknown") is None


async def test_where_the_key_is_unknown_and_the_provider_away_nobody_can_tell(
    provider: Provider, alone: Settings, token: str
) -> None:
    """503 and not 401: the client is to come again and not to log out."""
    await provider.stop()
    app = create_app(alone.model_copy(update={"parley_jwks_url": provider.url}))
    async with speaking(app) as client:
        expect_problem(await ask(client, sign(ec_key("a"), kid="x")), 503, "unavailable")
        assert (await ask(client, token)).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        answer_with(b"no json"),
        answer_with(b"[]"),
        answer_with(b'{"keys": {}}'),
        answer_with(b'{"keys": [1]}'),
        answer_with(b"[" * 100_000),
        answer_with(b"\xff\xfe"),
        answer_with(b'{"keys": [{"kid": "\xff"}]}'),
        answer_with(b"", "500 Internal Server Error"),
        answer_with(b"", "204 No Content"),
        b"garbage\r\n\r\n",
        b"",
    ],
    ids=range(11),
)
async def test_an_answer_that_is_no_key_set_changes_nothing(
    provider: Provider, keys: Keys, clock: Clock, answer: bytes
) -> None:
    provider.keys = [jwk_of(ec_key("a"), "one")]
    assert await keys.find("one") is not None
    provider.answer = answer
    clock.now += PAUSE_SECONDS
    with pytest.raises(Unavailable):
        await keys.find("two")
    assert provider.asked == 2
    assert await keys.find("one") is not None


@pytest.mark.parametrize("url", ["https://a\0b/keys", "https://xn--/keys"])
async def test_a_name_that_is_no_hosts_is_a_provider_that_is_away(url: str, clock: Clock) -> None:
    keys = Keys(url, clock)
    with pytest.raises(Unavailable):
        await keys.find("one")
    await keys.aclose()


async def test_a_redirect_is_not_followed(provider: Provider, keys: Keys) -> None:
    async with providing(jwk_of(ec_key("a"), "one")) as elsewhere:
        provider.answer = answer_with(b"", "302 Found", f"Location: {elsewhere.url}")
        with pytest.raises(Unavailable):
            await keys.find("one")
        assert elsewhere.asked == 0


async def test_a_set_that_is_too_large_is_not_read(provider: Provider, keys: Keys) -> None:
    known = json.dumps({"keys": [jwk_of(ec_key("a"), "one")]}).encode()
    provider.answer = answer_with(known.ljust(MAX_SET_BYTES))
    assert await keys.find("one") is not None
    other = Keys(provider.url)
    provider.answer = answer_with(known.ljust(MAX_SET_BYTES + 1))
    with pytest.raises(Unavailable):
        await other.find("one")
    await other.aclose()


async def test_a_silent_provider_holds_nobody_else_up(
    provider: Provider, alone: Settings, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the loop nor those whose key is known; and who waits for it waits not for ever."""
    provider.silent.set()
    async with trusting(provider, alone) as client:
        waiting = asyncio.create_task(ask(client, sign(ec_key("a"), kid="x")))
        for _ in range(3):
            assert (await ask(client, token)).status_code == 200
        assert not waiting.done()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    monkeypatch.setattr("api.keys.FETCH_SECONDS", 0.1)
    late = Keys(provider.url)
    with pytest.raises(Unavailable):
        await late.find("x")
    await late.aclose()


async def test_who_keeps_the_keys_fresh_does_not_ask_right_after_somebody_else(
    provider: Provider, keys: Keys
) -> None:
    await keys.find("one")
    running = asyncio.create_task(keys.run())
    # One after the other: this one asks whether there is a turn behind the first.
    await asyncio.create_task(keys.find("one"))
    assert provider.asked == 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_keys_are_fetched_anew_now_and_then(
    provider: Provider, keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one which the provider withdrew is forgotten, though nobody asks for another."""
    monkeypatch.setattr("api.keys.REFRESH_SECONDS", 0.01)
    provider.keys = [jwk_of(ec_key("a"), "one"), jwk_of(ec_key("b"), "two")]
    running = asyncio.create_task(keys.run())
    assert await keys.find("two") is not None
    provider.keys = provider.keys[:1]

    async def forgotten() -> bool:
        clock.now += 0.01
        return await keys.find("two") is None

    await until(forgotten)
    assert await keys.find("one") is not None
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
