"""What every answer has, whatever it answers."""

from __future__ import annotations

import pytest
from httpx import AsyncClient
from litestar import Litestar, get
from sqlalchemy import text

from api.app import create_app
from shared.db import Database
from shared.errors import SettingsError
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, begin, expect_problem, messages_of
from tests.fixtures.http import speaking
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

ORIGIN = "https://chat.example.org"


async def test_every_answer_has_safe_headers_and_an_id(client: AsyncClient) -> None:
    seen: set[str] = set()
    for path in ("/health", CONVERSATIONS, f"{CONVERSATIONS}/x", "/nowhere", "/schema"):
        answer = await client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 5


async def test_what_breaks_here_tells_nothing(
    client: AsyncClient, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await begin(client)
    async with db.transaction() as tx:
        await tx.execute(text("ALTER TABLE messages RENAME COLUMN content TO secret_column"))
    answer = await client.post(messages_of(conversation), json={"content": "private words"})
    problem = expect_problem(answer, 500, "internal")
    assert problem["detail"] == "Something went wrong here."
    logged = capsys.readouterr()
    for told in (answer.text, logged.out, logged.err):
        assert "private words" not in told
        assert "secret_column" not in told
    assert answer.headers["x-request-id"] in logged.out + logged.err
    assert "ProgrammingError" in logged.out + logged.err


async def test_requests_are_logged_by_their_route_without_words_or_tokens(
    client: AsyncClient, alice: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await begin(client)
    await client.post(messages_of(conversation), json={"content": "private words"})
    await client.get(f"{messages_of(conversation)}?since=0")
    logged = "".join(capsys.readouterr())
    assert "/api/chat/conversations/{conversation_id}/messages" in logged
    for secret in ("private words", alice.token, "since=", conversation["id"]):
        assert secret not in logged


async def test_without_named_origins_no_browser_elsewhere_is_let_in(client: AsyncClient) -> None:
    answer = await client.get(CONVERSATIONS, headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_named_origins_are_let_in_and_no_others(settings: Settings, alice: Person) -> None:
    app = create_app(settings.model_copy(update={"parley_cors_origins": f"{ORIGIN}, http://x"}))
    async with speaking(app, alice) as client:
        preflight = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, last-event-id, idempotency-key",
        }
        answer = await client.options(CONVERSATIONS, headers=preflight)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        answer = await client.get(CONVERSATIONS, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        for other in ("https://chat.example.org.evil.test", "https://chatXexample.org", "null"):
            answer = await client.get(CONVERSATIONS, headers={"Origin": other})
            assert "access-control-allow-origin" not in answer.headers
            answer = await client.options(CONVERSATIONS, headers=preflight | {"Origin": other})
            assert "access-control-allow-origin" not in answer.headers


def test_an_origin_with_a_wildcard_is_refused_at_the_start(settings: Settings) -> None:
    for origins in ("*", "https://*.example.org"):
        with pytest.raises(SettingsError, match="PARLEY_CORS_ORIGINS"):
            create_app(settings.model_copy(update={"parley_cors_origins": origins}))


async def test_a_route_that_is_added_without_a_thought_is_closed(
    app: Litestar, client: AsyncClient
) -> None:
    @get("/health/forgotten")
    async def forgotten() -> str:
        return "secret"

    app.register(forgotten)
    assert (await client.get("/health/forgotten")).status_code == 200
    client.headers.pop("authorization")
    expect_problem(await client.get("/health/forgotten"), 401, "unauthorized")
