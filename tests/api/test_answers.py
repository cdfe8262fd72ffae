"""What every answer has, whatever it answers."""

from __future__ import annotations

import pytest
from httpx import AsyncClient
from litestar import Litestar, get
from sqlalchemy import text

from shared.connection import LOGIN
from shared.db import Database
from tests.api.talk import begin, expect_problem, messages_of
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio


async def test_what_breaks_here_tells_nothing(
    client: AsyncClient, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await begin(client)
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("ALTER TABLE messages RENAME COLUMN content TO secret_column"))
    answer = await client.post(messages_of(conversation), json={"content": "private words"})
    problem = expect_problem(answer, 500, "internal")
    assert problem["detail"] == "Something went wrong here."
    logged = capsys.readouterr()
    for told in (answer.text, logged.out, logged.err):
        assert "private words" not in told
        assert "secret_column" not in told
    assert answer.headers["x-request-id"] in logged.out + logged.err
    assert "UndefinedColumnError" in logged.out + logged.err


async def test_requests_are_logged_by_their_route_without_words_or_tokens(
    client: AsyncClient, alice: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await begin(client)
    await client.post(messages_of(conversation), json={"content": "private words"})
    await client.get(f"{messages_of(conversation)}?since=0")
    logged = "".join(capsys.readouterr())
    assert "/api/chat/conversations/{conversation_id}/messages" in logged
    for secret in ("private words", alice.token, "since=", alice.owner):
        assert secret not in logged


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
