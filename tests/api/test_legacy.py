"""The two older route families: `/api/chat` and `/api/v1/{user_id}/chat`."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from tests.api.talk import (
    CONVERSATIONS,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    expect_same,
    get,
    keyed,
    messages_of,
    path_of,
    say,
)
from tests.fixtures.people import Person, TokenFor
from tests.fixtures.servers import CountRows
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

OF_TOKEN, OF_ALICE = "/api", "/api/v1/alice"
FAMILIES = pytest.mark.parametrize("root", [OF_TOKEN, OF_ALICE])


async def chat(client: AsyncClient, root: str = OF_TOKEN, **body: Any) -> Response:
    """Without waiting."""
    return await client.post(f"{root}/chat", params={"wait": 0}, json={"message": "hello"} | body)


async def newest(client: AsyncClient) -> str:
    """The one conversation, as soon as there is one."""

    async def look() -> list[Any]:
        found: list[Any] = (await get(client, CONVERSATIONS))["conversations"]
        return found

    (conversation,) = await until(look)
    found: str = conversation["id"]
    return found


@FAMILIES
async def test_the_answer_comes_with_the_request(
    client: AsyncClient, db: Database, feed: Feed, root: str
) -> None:
    asking = asyncio.create_task(client.post(f"{root}/chat", json={"message": "hello"}))
    conversation_id = await newest(client)
    turn = await claim_turn(db, feed, conversation_id)
    await answer_turn(db, feed, turn, "hi there")
    answer = await asking
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.keys() == {"conversation_id", "user_message", "assistant_message", "turn"}
    assert found["conversation_id"] == conversation_id
    assert found["user_message"]["content"] == "hello"
    assert found["assistant_message"]["content"] == "hi there"
    assert found["turn"]["status"] == "completed"
    assert answer.headers["location"] == f"/api/chat/turns/{turn.id}"


@FAMILIES
async def test_a_wait_that_runs_out_leaves_a_turn_to_follow(client: AsyncClient, root: str) -> None:
    answer = await chat(client, root)
    assert answer.status_code == 202
    assert answer.json()["assistant_message"] is None
    assert answer.json()["turn"]["status"] == "queued"
    turn = await get(client, answer.headers["location"])
    assert turn["id"] == answer.json()["turn"]["id"]


async def test_a_conversation_is_gone_on_with(client: AsyncClient) -> None:
    first = (await chat(client)).json()
    named = {"conversation_id": first["conversation_id"]}
    second = (await chat(client, OF_ALICE, message="more", **named)).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert second["turn"]["position"] == 2
    shown = await get(client, f"{OF_TOKEN}/conversations/{first['conversation_id']}")
    assert [message["content"] for message in shown["messages"]] == ["hello", "more"]
    assert shown["title"] == "hello"


@FAMILIES
async def test_what_was_said_once_is_answered_the_same(
    client: AsyncClient, count_rows: CountRows, root: str
) -> None:
    async def send(text: str) -> Response:
        body = {"message": text}
        return await client.post(f"{root}/chat?wait=0", json=body, headers=keyed())

    first = await send("hello")
    written = await count_rows()
    expect_same(await send("hello"), first)
    assert await count_rows() == written
    expect_problem(await send("other"), 422, "idempotency_key_reused")


@FAMILIES
async def test_a_conversation_is_shown_with_its_messages(client: AsyncClient, root: str) -> None:
    conversation = await begin(client)
    for text in ("one", "two", "three"):
        await say(client, conversation, text)
    path = f"{root}/conversations/{conversation['id']}"
    shown = await get(client, path)
    messages, more = shown.pop("messages"), shown.pop("has_more")
    assert shown == await get(client, path_of(conversation))
    assert messages == (await get(client, messages_of(conversation)))["messages"]
    assert not more
    page = await get(client, path, limit=2)
    assert (page["messages"], page["has_more"]) == (messages[1:], True)
    page = await get(client, path, limit=2, before=messages[1]["seq"])
    assert (page["messages"], page["has_more"]) == (messages[:1], False)


@FAMILIES
async def test_the_conversations_are_listed_page_by_page(client: AsyncClient, root: str) -> None:
    for title in ("one", "two", "three"):
        await begin(client, title=title)
    path = f"{root}/conversations"
    assert await get(client, path) == await get(client, CONVERSATIONS)
    page = await get(client, path, limit=2)
    rest = await get(client, path, limit=2, cursor=page["next_cursor"])
    titles = [found["title"] for found in page["conversations"] + rest["conversations"]]
    assert titles == ["three", "two", "one"]
    assert rest["next_cursor"] is None


async def test_a_path_that_names_somebody_else_is_forbidden(
    client: AsyncClient, bob: Person, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    written = await count_rows()
    for user in ("bob", "Alice", "alice%20", "alic", "%61lice2", str(new_id())):
        root = f"/api/v1/{user}"
        asked = f"{root}/conversations/{conversation['id']}"
        answers = [await chat(client, root), await client.get(f"{root}/conversations")]
        for answer in [*answers, await client.get(asked)]:
            expect_problem(answer, 403, "forbidden")
    answer = await client.get(f"{OF_ALICE}/conversations", headers=bob.headers)
    expect_problem(answer, 403, "forbidden")
    assert await count_rows() == written


async def test_a_name_is_read_from_the_path_as_it_was_written(
    client: AsyncClient, token_for: TokenFor
) -> None:
    headers = {"Authorization": f"Bearer {token_for('zoë+1@example.com')}"}
    path = "/api/v1/zo%C3%AB%2B1%40example.com/conversations"
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text


@FAMILIES
async def test_what_is_not_there_or_not_right_changes_nothing(
    client: AsyncClient, bob: Person, count_rows: CountRows, root: str
) -> None:
    theirs = await client.post(CONVERSATIONS, json={}, headers=bob.headers)
    written = await count_rows()
    for unknown in (theirs.json()["id"], str(UUID(int=0))):
        answer = await chat(client, root, conversation_id=unknown)
        expect_problem(answer, 404, "not_found")
        expect_problem(await client.get(f"{root}/conversations/{unknown}"), 404, "not_found")
    for wrong in (
        *({"message": ""}, {"message": " \n"}, {"message": "x" * 10_001}, {"message": 1}),
        *({"message": "a\0b"}, {"conversation_id": "x"}, {"conversation_id": ""}, {"content": "x"}),
    ):
        expect_problem(await chat(client, root, **wrong), 400, "invalid_request")
    for wait in ("-1", "61", "x", "nan"):
        answer = await client.post(f"{root}/chat?wait={wait}", json={"message": "hello"})
        expect_problem(answer, 400, "invalid_request")
    assert await count_rows() == written
