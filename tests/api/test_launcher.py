"""The page opens signed in under `parley up`, and in no other case."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from httpx import AsyncClient

from api.app import create_app
from api.cookies import Connection, Cookies
from api.launcher import launcher_user
from shared.errors import SettingsError, Unauthorized
from shared.settings import Environment, Settings
from tests.api.talk import CONVERSATIONS, expect_problem
from tests.fixtures.http import speaking

pytestmark = pytest.mark.anyio

PATH = "/api/session/launcher"
ADDRESS = "http://127.0.0.1:8123"
OWN = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}
USER = {"parley_page_user": "developer"}


@pytest.fixture
async def at(settings: Settings) -> AsyncIterator[Any]:
    """`await at(address=…, peer=…, **settings)`: a browser that opened the page there."""
    async with AsyncExitStack() as opened:

        async def speak(
            address: str = ADDRESS, peer: str = "127.0.0.1", **changed: Any
        ) -> AsyncClient:
            app = create_app(settings.model_copy(update=USER | changed))
            return await opened.enter_async_context(speaking(app, address=address, peer=peer))

        yield speak


async def test_who_opens_the_page_on_this_machine_is_signed_in(at: Any) -> None:
    client: AsyncClient = await at()
    answer = await client.post(PATH, headers=OWN)
    assert answer.status_code == 201, answer.text
    assert answer.json()["user_id"] == "developer"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    kept = re.search(r"max-age=(\d+)", cookie)
    assert kept is not None
    assert 0 <= 12 * 3600 - int(kept[1]) < 60
    assert (await client.get(CONVERSATIONS)).status_code == 200
    assert (await client.post(CONVERSATIONS, json={}, headers=OWN)).status_code == 201
    assert (await client.get("/api/session")).json()["user_id"] == "developer"


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("http://localhost:8123", "127.0.0.1"),
        ("http://[::1]:8123", "::1"),
        ("http://127.3.4.5", "::ffff:127.0.0.1"),
    ],
)
async def test_this_machine_has_several_names(at: Any, address: str, peer: str) -> None:
    answer = await (await at(address, peer)).post(PATH, headers={"Origin": address})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://evil.test"},
        OWN | {"Sec-Fetch-Site": "cross-site"},
        OWN | {"Sec-Fetch-Site": "same-site"},
        OWN | {"Sec-Fetch-Site": "none"},
        OWN | {"X-Forwarded-For": "127.0.0.1"},
        OWN | {"Forwarded": "for=127.0.0.1"},
        OWN | {"X-Real-IP": "127.0.0.1"},
        OWN | {"X-Forwarded-Port": "8123"},
        OWN | {"Via": "1.1 proxy"},
        OWN | {"X-Forwarded-Host": "127.0.0.1"},
        OWN | {"Host": "rebound.evil.test:8123", "Origin": "http://rebound.evil.test:8123"},
        OWN | {"Host": "localhost.evil.test", "Origin": "http://localhost.evil.test"},
        OWN | {"Host": "10.0.0.7:8123", "Origin": "http://10.0.0.7:8123"},
    ],
)
async def test_who_does_not_come_from_a_page_of_ours_here_is_nobody(
    at: Any, headers: dict[str, str]
) -> None:
    answer = await (await at()).post(PATH, headers=headers)
    expect_problem(answer, 401, "unauthorized")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.1.2", "::2", "not an address"])
async def test_another_machine_is_nobody(at: Any, peer: str) -> None:
    expect_problem(await (await at(peer=peer)).post(PATH, headers=OWN), 401, "unauthorized")


async def test_a_friend_of_another_origin_is_not_the_page(at: Any) -> None:
    """Named origins may use cookies; a session without a token is for the page alone."""
    friend = "http://friend.test"
    client = await at(parley_cors_origins=friend)
    answer = await client.post(PATH, headers={"Origin": friend})
    expect_problem(answer, 401, "unauthorized")


async def test_without_a_user_it_opens_for_nobody(at: Any) -> None:
    client = await at(parley_page_user="")
    expect_problem(await client.post(PATH, headers=OWN), 401, "unauthorized")


def test_a_running_production_would_open_for_nobody_either(alone: Settings) -> None:
    """It doesn't start with a user; the route asks all the same."""
    host = "127.0.0.1:8123"
    headers = [(b"host", host.encode()), (b"origin", f"https://{host}".encode())]
    near: Any = {"type": "http", "headers": headers, "client": ("127.0.0.1", 9)}
    for env in Environment:
        changed = alone.model_copy(update=USER | {"parley_env": env})
        asked = (changed, Cookies(changed), Connection(near))
        if env is Environment.development:
            assert launcher_user(*asked) == "developer"
        else:
            with pytest.raises(Unauthorized):
                launcher_user(*asked)


@pytest.mark.parametrize("user", [" ", "a" * 256, "a\nb"])
def test_what_is_no_name_is_refused_at_the_start(settings: Settings, user: str) -> None:
    with pytest.raises(SettingsError, match="PARLEY_PAGE_USER"):
        create_app(settings.model_copy(update={"parley_page_user": user}))


async def test_production_does_not_start_with_it(settings: Settings) -> None:
    changed = USER | {"parley_env": Environment.production}
    with pytest.raises(SettingsError, match="PARLEY_PAGE_USER"):
        create_app(settings.model_copy(update=changed))
