"""What browsers are told, on every route and whatever the answer is."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar

from api.app import create_app
from shared.errors import SettingsError
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, begin, messages_of, path_of
from tests.api.test_auth import SOME_ID, routes
from tests.fixtures.http import speaking
from tests.fixtures.people import Person
from tests.fixtures.service import StartService

pytestmark = pytest.mark.anyio

ORIGIN = "https://chat.example.org"
OTHERS = (
    *("https://chat.example.org.evil.test", "https://chatXexample.org", "http://chat.example.org"),
    *("https://chat.example.org:8443", "https://evil.test", "null", "", "https://CHAT.example.org"),
    *("https://chat.example.org/", "https://chat.example.org, https://evil.test"),
)
PAGES = {"/", f"/c/{SOME_ID}", "/favicon.svg"}
"""They and what they load may be kept; they hold nothing of anybody's."""
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, last-event-id, idempotency-key",
}


@pytest.fixture
def named(settings: Settings) -> Litestar:
    origins = f"{ORIGIN}, http://x"
    return create_app(settings.model_copy(update={"parley_cors_origins": origins}))


@pytest.fixture
async def browser(named: Litestar, alice: Person) -> AsyncGenerator[AsyncClient]:
    """Alice's, on a page of the named origin."""
    async with speaking(named, alice) as found:
        found.headers["Origin"] = ORIGIN
        yield found


async def every_answer(client: AsyncClient, app: Litestar) -> list[Response]:
    """One with a token and one without from each route, and what is no route at all."""
    answers: list[Response] = []
    for method, path in [*routes(app), ("GET", "/nowhere"), ("TRACE", "/health")]:
        found = path.replace("{conversation_id}", SOME_ID).replace("{turn_id}", SOME_ID)
        for headers in ({}, {"Authorization": "none"}):
            answers.append(await client.request(method, found, content=b"{", headers=headers))
    return answers


def cors_of(answer: Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control")]


async def test_every_answer_has_safe_headers_and_an_id(client: AsyncClient, app: Litestar) -> None:
    answers = await every_answer(client, app)
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 405, 415}
    for answer in answers:
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff", answer.request
        assert headers["referrer-policy"] == "no-referrer"
        kept = answer.request.url.path in PAGES and answer.status_code == 200
        assert kept or headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        for rule in ("default-src", "base-uri", "form-action", "frame-ancestors"):
            assert f"{rule} 'none'" in policy
        assert "unsafe" not in policy
        assert not {"server", "x-powered-by", "strict-transport-security"} & set(headers)
        page = headers.get("content-type", "").startswith("text/html")
        assert (headers.get("cross-origin-opener-policy") == "same-origin") == page
        assert ("camera=()" in headers.get("permissions-policy", "")) == page
    assert any(a.headers.get("content-type", "").startswith("text/html") for a in answers)
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


async def test_https_is_insisted_on_where_the_settings_say_that_there_is_nothing_else(
    settings: Settings,
) -> None:
    app = create_app(settings.model_copy(update={"parley_hsts_seconds": 600}))
    async with speaking(app) as client:
        for path in ("/health", "/nowhere", "/schema"):
            answer = await client.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=600"


async def test_without_named_origins_no_browser_elsewhere_is_let_in(
    client: AsyncClient, app: Litestar
) -> None:
    client.headers["Origin"] = ORIGIN
    answers = [*await every_answer(client, app), await client.options("/health", headers=PREFLIGHT)]
    for answer in answers:
        assert not cors_of(answer)
        assert "Origin" not in answer.headers.get("vary", "")


async def test_a_named_origin_may_read_every_answer_errors_too(
    browser: AsyncClient, named: Litestar
) -> None:
    for answer in await every_answer(browser, named):
        headers = answer.headers
        assert headers["access-control-allow-origin"] == ORIGIN, answer.request
        assert headers["access-control-allow-credentials"] == "true"
        assert "Origin" in headers["vary"]
        exposed = {name.strip() for name in headers["access-control-expose-headers"].split(",")}
        assert exposed == {
            *("Location", "Retry-After", "X-Request-Id", "RateLimit", "RateLimit-Policy")
        }


async def test_a_page_asks_first_and_is_told_what_it_may_send(browser: AsyncClient) -> None:
    browser.headers.pop("Authorization")
    for path in (CONVERSATIONS, messages_of(SOME_ID), "/nowhere"):
        answer = await browser.options(path, headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (204, b"")
        headers = answer.headers
        assert headers["access-control-allow-origin"] == ORIGIN
        assert headers["access-control-allow-credentials"] == "true"
        assert headers["vary"] == "Origin"
        assert {name.strip() for name in headers["access-control-allow-methods"].split(",")} == {
            *("GET", "POST", "PUT", "PATCH", "DELETE")
        }
        allowed = headers["access-control-allow-headers"]
        assert {name.strip() for name in allowed.split(",")} == {
            *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"),
            *("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Traceparent"),
        }
        assert "*" not in str(headers)


async def test_an_origin_that_is_not_named_hears_nothing_of_cors(browser: AsyncClient) -> None:
    for other in OTHERS:
        for answer in (
            await browser.get(CONVERSATIONS, headers={"Origin": other}),
            await browser.get("/nowhere", headers={"Origin": other}),
            await browser.options(CONVERSATIONS, headers=PREFLIGHT | {"Origin": other}),
        ):
            assert not cors_of(answer), other
            assert answer.headers["vary"] == "Origin"
    browser.headers.pop("Origin")
    two = [("Origin", ORIGIN), ("Origin", ORIGIN)]
    assert not cors_of(await browser.get(CONVERSATIONS, headers=two))
    # Caches must know that the answer depends on the origin, also where none asked.
    assert (await browser.get(CONVERSATIONS)).headers["vary"] == "Origin"


async def test_a_stream_may_be_read_by_a_named_origin(
    start_service: StartService, alice: Person
) -> None:
    service = await start_service(workers=0, api={"parley_cors_origins": ORIGIN})
    conversation = await begin(service.client)
    events = f"{path_of(conversation)}/events"
    for origin, may_read in ((ORIGIN, [ORIGIN]), ("null", [])):
        headers = alice.headers | {"Origin": origin}
        async with service.client.stream("GET", events, headers=headers) as stream:
            assert stream.status_code == 200
            assert stream.headers["vary"] == "Origin"
            assert stream.headers.get_list("access-control-allow-origin") == may_read
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "origins",
    [
        *("*", "https://*.example.org", "null", "chat.example.org", "https://x/", "https://X"),
        *("https://x/path", "https://x https://y", "//x", "https://", "https://x:port"),
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(settings: Settings, origins: str) -> None:
    with pytest.raises(SettingsError, match="PARLEY_CORS_ORIGINS"):
        create_app(settings.model_copy(update={"parley_cors_origins": origins}))
