"""A browser's session: what its cookie is, what it opens and when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.cookies import SimpleCookie
from typing import Any

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from shared.connection import EVERYONE
from shared.db import Database
from shared.settings import Environment, Settings
from tests.api.talk import CONVERSATIONS, Json, begin, expect_problem, messages_of, path_of
from tests.fixtures.http import speaking
from tests.fixtures.people import Person, TokenFor, make_token
from tests.fixtures.sessions import TABLE, Sessions
from tests.fixtures.settings import SERVICE_TOKEN as SERVICE

pytestmark = pytest.mark.anyio

HOST = "http://parley.test"
FRIEND = "https://chat.example.org"
NAME = "parley_session"
Headers = dict[str, str]


@pytest.fixture
def app(settings: Settings) -> Litestar:
    changed = {
        "parley_cors_origins": FRIEND,
        "parley_sessions_table": TABLE,
        "service_auth_token": SecretStr(SERVICE),
    }
    return create_app(settings.model_copy(update=changed))


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncClient]:
    """Says nothing of who it is."""
    async with speaking(app) as found:
        yield found


def cookie_of(answer: Response) -> tuple[str, str, Headers]:
    """Name, value, and the rest in lower case."""
    (given,) = answer.headers.get_list("set-cookie")
    ((name, morsel),) = SimpleCookie(given).items()
    return name, morsel.value, {key: str(value) for key, value in morsel.items() if value}


async def log_in(client: AsyncClient, headers: Headers) -> Headers:
    """The headers of a page of ours in a browser that logged in."""
    answer = await client.post("/api/session", headers=headers)
    assert answer.status_code == 201, answer.text
    client.cookies.clear()
    name, value, _ = cookie_of(answer)
    return {"Cookie": f"{name}={value}", "Origin": HOST, "Sec-Fetch-Site": "same-origin"}


async def rows(db: Database) -> list[tuple[Any, ...]]:
    async with db.snapshot(EVERYONE) as tx:
        found = await tx.all(text("SELECT id_hash, user_id, session_id FROM browser_sessions"))
    return [tuple[Any, ...](row) for row in found]


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(
    client: AsyncClient, alice: Person, db: Database
) -> None:
    answer = await client.post("/api/session", headers=alice.headers)
    assert answer.status_code == 201
    name, value, attributes = cookie_of(answer)
    assert (name, len(value)) == (NAME, 43)
    assert 3500 < int(attributes.pop("max-age")) <= 3600
    assert attributes == {"path": "/", "httponly": "True", "samesite": "strict"}
    assert answer.json()["user_id"] == "alice"
    # What is stored opens nothing.
    stored = sha256(value.encode())
    assert await rows(db) == [(stored.digest(), "alice", None)]
    for stolen in (stored.hexdigest(), alice.token):
        refused = await client.get("/api/session", headers={"Cookie": f"{NAME}={stolen}"})
        expect_problem(refused, 401, "unauthorized")


@pytest.mark.parametrize(
    ("env", "url"),
    [(Environment.production, HOST), (Environment.development, "https://parley.test")],
)
async def test_outside_of_development_the_cookie_goes_over_tls_only(
    settings: Settings, alice: Person, env: Environment, url: str
) -> None:
    """Behind a proxy that ends the TLS we see plain http, and it is https all the same."""
    async with speaking(create_app(settings.model_copy(update={"parley_env": env}))) as client:
        answer = await client.post(f"{url}/api/session", headers=alice.headers)
        name, value, attributes = cookie_of(answer)
        assert (name, attributes["secure"]) == (f"__Host-{NAME}", "True")
        assert (attributes["path"], "domain" in attributes) == ("/", False)
        client.cookies.clear()
        for sent, status in ((name, 200), (NAME, 401)):
            given = {"Cookie": f"{sent}={value}"}
            found = await client.get(f"{url}/api/session", headers=given)
            assert found.status_code == status
        given = {"Cookie": f"{name}={value}"}
        secure = await client.post(
            f"{url}{CONVERSATIONS}", json={}, headers=given | {"Origin": "https://parley.test"}
        )
        assert secure.status_code == 201
        plain = await client.post(
            f"{url}{CONVERSATIONS}", json={}, headers=given | {"Origin": "http://parley.test"}
        )
        assert plain.status_code == (403 if env is Environment.production else 201)


async def test_cookie_and_token_are_answered_the_same(client: AsyncClient, alice: Person) -> None:
    browser = await log_in(client, alice.headers)
    answer = await client.post(CONVERSATIONS, json={"title": "x"}, headers=browser)
    assert answer.status_code == 201
    conversation: Json = answer.json()
    for path in (path_of(conversation), messages_of(conversation), CONVERSATIONS, "/nowhere"):
        by_cookie = await client.get(path, headers=browser)
        by_token = await client.get(path, headers=alice.headers)
        assert by_cookie.status_code == by_token.status_code
        assert by_cookie.content == by_token.content
    refused = await client.patch("/api/tasks", headers=browser)
    expect_problem(refused, 405, "method_not_allowed")


async def test_another_owner_is_another_owner(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    browser = await log_in(client, bob.headers)
    client.headers.update(alice.headers)
    conversation = await begin(client)
    client.headers.pop("authorization")
    answer = await client.get(path_of(conversation), headers=browser)
    expect_problem(answer, 404, "not_found")
    answer = await client.get("/api/v1/alice/conversations", headers=browser)
    expect_problem(answer, 403, "forbidden")


async def test_a_request_with_a_token_goes_by_its_token(
    client: AsyncClient, alice: Person, bob: Person, sessions: Sessions
) -> None:
    browser = await log_in(client, alice.headers)
    both = browser | {"Origin": "https://evil.example"} | bob.headers
    answer = await client.post(CONVERSATIONS, json={}, headers=both)
    assert answer.status_code == 201
    assert (await client.get("/api/session", headers=both)).json()["user_id"] == "bob"
    for wrong in ("Bearer x", "Basic eDp5", ""):
        refused = await client.get("/api/session", headers=browser | {"Authorization": wrong})
        expect_problem(refused, 401, "unauthorized")


async def test_what_is_no_cookie_of_ours_is_refused(client: AsyncClient, alice: Person) -> None:
    given = (await log_in(client, alice.headers))["Cookie"]
    fine: Iterable[str] = (given, f"a=b; {given}", f"{given}; a=b", f"a; ;{given};")
    for cookie in fine:
        assert (await client.get("/api/session", headers={"Cookie": cookie})).status_code == 200
    value = given.partition("=")[2]
    wrong = [
        *("", "x", NAME, f"{NAME}=", f"{NAME}=x", f"{NAME}={value}x", f"{NAME}={value[:-1]}"),
        *(f"__Host-{NAME}={value}", f"{NAME.upper()}={value}", f"{given}; {given}"),
        *(f"{NAME}=x; {given}", f'{NAME}="{value}"', f"{NAME}={'x' * 5000}", f"x{given}"),
    ]
    for cookie in wrong:
        refused = await client.get("/api/session", headers={"Cookie": cookie})
        expect_problem(refused, 401, "unauthorized")


async def test_logging_out_ends_the_session_and_clears_the_cookie(
    client: AsyncClient, alice: Person, db: Database
) -> None:
    browser, other = [await log_in(client, alice.headers) for _ in range(2)]
    answer = await client.delete("/api/session", headers=browser)
    assert answer.status_code == 204
    name, value, attributes = cookie_of(answer)
    assert (name, value, attributes["max-age"]) == (NAME, "", "0")
    expect_problem(await client.get("/api/session", headers=browser), 401, "unauthorized")
    assert (await client.get("/api/session", headers=other)).status_code == 200
    assert (await client.get("/api/session", headers=alice.headers)).status_code == 200
    assert len(await rows(db)) == 1


async def test_logging_out_with_a_token_ends_the_cookie_of_the_same_owner_only(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    browser = await log_in(client, alice.headers)
    for person, left in ((bob, 200), (alice, 401)):
        answer = await client.delete("/api/session", headers=browser | person.headers)
        assert answer.status_code == 204
        assert (await client.get("/api/session", headers=browser)).status_code == left


async def test_logging_out_with_a_token_clears_a_cookie_that_is_none_of_ours(
    client: AsyncClient, alice: Person
) -> None:
    """Scripts can't: it would make every request without a token fail for as long as it likes."""
    for cookie in (f"{NAME}={'x' * 200}", f"{NAME}=x; {NAME}=y", f"{NAME}="):
        headers = alice.headers | {"Cookie": cookie}
        answer = await client.delete("/api/session", headers=headers)
        assert answer.status_code == 204, answer.text
        name, value, attributes = cookie_of(answer)
        assert (name, value, attributes["max-age"]) == (NAME, "", "0")
        refused = await client.delete("/api/session", headers={"Cookie": cookie})
        expect_problem(refused, 401, "unauthorized")


async def test_a_session_ends_with_the_token_it_was_made_from(
    client: AsyncClient, token_for: TokenFor, db: Database, settings: Settings
) -> None:
    browser = await log_in(client, {"Authorization": f"Bearer {token_for('alice', seconds=600)}"})
    answer = (await client.get("/api/session", headers=browser)).json()
    left = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=590) < left <= timedelta(seconds=600)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE browser_sessions SET expires_at = now()"))
    expect_problem(await client.get("/api/session", headers=browser), 401, "unauthorized")
    # Within the leeway the token is good, but there is nothing left to make a session of.
    late = make_token(settings, "alice", seconds=-5)
    refused = await client.post("/api/session", headers={"Authorization": f"Bearer {late}"})
    expect_problem(refused, 401, "unauthorized")


async def test_a_session_ends_with_the_session_it_was_made_from(
    client: AsyncClient, sessions: Sessions, db: Database
) -> None:
    token = await sessions.add("token", "alice", session="s1")
    browser = await log_in(client, {"Authorization": f"Bearer {token}"})
    assert [row[1:] for row in await rows(db)] == [("alice", "s1")]
    assert (await client.get("/api/session", headers=browser)).status_code == 200
    await sessions.end("s1")
    expect_problem(await client.get("/api/session", headers=browser), 401, "unauthorized")


async def test_a_backend_can_open_a_session_for_its_user(client: AsyncClient) -> None:
    """The service token has no end, the session has."""
    given = {"Authorization": f"Bearer {SERVICE}", "X-User-Id": "alice"}
    browser = await log_in(client, given)
    answer = await client.get("/api/session", headers=browser | {"X-User-Id": "bob"})
    assert answer.json()["user_id"] == "alice"
    left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=11.9) < left <= timedelta(hours=12)


async def test_a_cookie_makes_no_cookie(client: AsyncClient, alice: Person, db: Database) -> None:
    browser = await log_in(client, alice.headers)
    expect_problem(await client.post("/api/session", headers=browser), 401, "unauthorized")
    assert len(await rows(db)) == 1
