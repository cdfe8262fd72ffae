"""A browser sends its cookie by itself: what other sites can't make it do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from litestar import Litestar

from api.app import create_app
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, Json, begin, expect_problem, messages_of, path_of, say
from tests.api.test_cookies import FRIEND, HOST, Headers, log_in
from tests.fixtures.http import speaking
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio


@pytest.fixture
def app(settings: Settings) -> Litestar:
    return create_app(settings.model_copy(update={"parley_cors_origins": FRIEND}))


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncClient]:
    """Says nothing of who it is."""
    async with speaking(app) as found:
        yield found


async def test_what_changes_something_must_come_from_a_page_of_ours(
    client: AsyncClient, alice: Person
) -> None:
    """Every unsafe method, with a body and without; nothing is written where it is refused."""
    browser = await log_in(client, alice.headers)
    client.headers.update(alice.headers)
    conversation = await begin(client)
    turn = (await say(client, conversation, "hello"))["turn"]
    client.headers.pop("authorization")
    own: Headers = {"Cookie": browser["Cookie"]}
    asked: list[tuple[str, str, Json | None]] = [
        ("POST", CONVERSATIONS, {}),
        ("POST", messages_of(conversation), {"content": "x"}),
        ("POST", f"{path_of(conversation)}/tickets", None),
        ("PUT", path_of(conversation), {"title": "x"}),
        ("PATCH", path_of(conversation), {"title": "x"}),
        ("POST", f"/api/chat/turns/{turn['id']}/cancel", None),
        ("DELETE", path_of(conversation), None),
        ("DELETE", "/api/session", None),
        ("POST", "/nowhere", None),
    ]
    foreign: list[Headers] = [
        {},
        *(
            {"Origin": origin}
            for origin in (
                *("null", "", "https://evil.example", "http://parley.test.evil.example"),
                *("http://parley.test:81", "http://xparley.test", "parley.test", "http://"),
                *("ftp://parley.test", f"{HOST}/", f"{HOST} https://evil.example", "*"),
                *("https://chat.example.org:444", "http://chat.example.org", "file://"),
            )
        ),
        {"Origin": HOST, "Sec-Fetch-Site": "cross-site"},
        {"Referer": f"{HOST}/"},
    ]
    for headers in foreign:
        for method, path, body in asked:
            answer = await client.request(method, path, json=body, headers=own | headers)
            expect_problem(answer, 403, "origin_refused")
    twice = [("Cookie", own["Cookie"]), ("Origin", HOST), ("Origin", "https://evil.example")]
    answer = await client.post(CONVERSATIONS, json={}, headers=twice)
    expect_problem(answer, 403, "origin_refused")
    left = await client.get(CONVERSATIONS, headers=own)
    assert [found["active_turn"]["status"] for found in left.json()["conversations"]] == ["queued"]
    for origin in (HOST, "https://parley.test", FRIEND, "HTTP://PARLEY.TEST"):
        answer = await client.post(CONVERSATIONS, json={}, headers=own | {"Origin": origin})
        assert answer.status_code == 201, origin


async def test_a_body_that_a_form_could_send_is_refused(client: AsyncClient, alice: Person) -> None:
    browser = await log_in(client, alice.headers)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = browser | {"Content-Type": kind}
        answer = await client.post(CONVERSATIONS, content=b"{}", headers=headers)
        expect_problem(answer, 415, "unsupported_media_type")


async def test_reading_needs_no_origin_but_must_not_come_from_another_site(
    client: AsyncClient, alice: Person
) -> None:
    own = {"Cookie": (await log_in(client, alice.headers))["Cookie"]}
    for site in ("same-origin", "same-site", "none"):
        answer = await client.get(CONVERSATIONS, headers=own | {"Sec-Fetch-Site": site})
        assert answer.status_code == 200
    refused = await client.get(CONVERSATIONS, headers=own | {"Sec-Fetch-Site": "cross-site"})
    expect_problem(refused, 403, "origin_refused")
    # A token isn't sent by itself: where the request comes from is all the same.
    headers = alice.headers | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert (await client.get(CONVERSATIONS, headers=headers)).status_code == 200


async def test_an_allowed_origin_may_send_the_cookie(client: AsyncClient) -> None:
    answer = await client.options(
        "/api/session",
        headers={"Origin": FRIEND, "Access-Control-Request-Method": "DELETE"},
    )
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert answer.headers["access-control-allow-credentials"] == "true"
