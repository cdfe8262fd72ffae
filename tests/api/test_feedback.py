"""Feedback: on answers of one's own, and no change of the conversation."""

from __future__ import annotations

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from tests.api.talk import (
    Json,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    get,
    messages_of,
    path_of,
    say,
)
from tests.fixtures.people import Person
from tests.fixtures.servers import CountRows

pytestmark = pytest.mark.anyio


def feedback_on(message: Json | str) -> str:
    return f"/api/chat/messages/{message if isinstance(message, str) else message['id']}/feedback"


async def answered(client: AsyncClient, db: Database, feed: Feed, count: int = 1) -> list[Json]:
    """A new conversation with as many questions and answers: its messages."""
    conversation = await begin(client)
    for number in range(count):
        await say(client, conversation, f"question {number}")
        turn = await claim_turn(db, feed, conversation["id"])
        await answer_turn(db, feed, turn, f"answer {number}")
    found: list[Json] = (await get(client, messages_of(conversation)))["messages"]
    return found


async def test_an_answer_is_rated_and_rated_again(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    _, answer = await answered(client, db, feed)
    path = feedback_on(answer)
    given = await client.put(path, json={"rating": "down", "comment": "Too long; 太长"})
    assert given.status_code == 200, given.text
    first = given.json()
    assert (first["rating"], first["comment"]) == ("down", "Too long; 太长")
    assert (first["message_id"], first["conversation_id"]) == (
        answer["id"],
        answer["conversation_id"],
    )
    listed = f"{path_of(answer['conversation_id'])}/feedback"
    assert await get(client, listed) == {"feedback": [first], "next_cursor": None}
    second = (await client.put(path, json={"rating": "up"})).json()
    assert (second["rating"], second["comment"]) == ("up", "")
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]
    assert (await get(client, listed))["feedback"] == [second]


async def test_a_rating_is_taken_back(client: AsyncClient, db: Database, feed: Feed) -> None:
    _, answer = await answered(client, db, feed)
    path = feedback_on(answer)
    await client.put(path, json={"rating": "up"})
    for _ in range(2):
        assert (await client.delete(path)).status_code == 204
    assert (await get(client, f"{path_of(answer['conversation_id'])}/feedback"))["feedback"] == []


async def test_a_rating_is_no_change_of_the_conversation(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    _, answer = await answered(client, db, feed)
    before = await get(client, path_of(answer["conversation_id"]))
    await client.put(feedback_on(answer), json={"rating": "up"})
    await client.delete(feedback_on(answer))
    assert await get(client, path_of(answer["conversation_id"])) == before


async def test_only_answers_that_stand_can_be_rated(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    question, answer = await answered(client, db, feed)
    expect_problem(
        await client.put(feedback_on(question), json={"rating": "up"}), 409, "message_not_rateable"
    )
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text("UPDATE messages SET status = 'withdrawn' WHERE id = :id"), {"id": answer["id"]}
        )
    expect_problem(
        await client.put(feedback_on(answer), json={"rating": "up"}), 409, "message_not_rateable"
    )


async def test_nobody_rates_or_sees_ratings_of_what_is_not_theirs(
    client: AsyncClient, db: Database, feed: Feed, bob: Person
) -> None:
    _, answer = await answered(client, db, feed)
    path, listed = feedback_on(answer), f"{path_of(answer['conversation_id'])}/feedback"
    await client.put(path, json={"rating": "up", "comment": "private"})
    mine = await get(client, listed)
    for method, asked in (("PUT", path), ("DELETE", path), ("GET", listed)):
        unknown = asked.replace(answer["id"], str(new_id()))
        unknown = unknown.replace(answer["conversation_id"], str(new_id()))
        body = {"rating": "down"} if method == "PUT" else None
        theirs = await client.request(method, asked, json=body, headers=bob.headers)
        expect_problem(theirs, 404, "not_found")
        nobodys = await client.request(method, unknown, json=body)
        assert nobodys.content == theirs.content
    assert await get(client, listed) == mine


async def test_with_the_conversation_the_ratings_are_gone(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    _, answer = await answered(client, db, feed)
    await client.put(feedback_on(answer), json={"rating": "up"})
    await client.delete(path_of(answer["conversation_id"]))
    listed = f"{path_of(answer['conversation_id'])}/feedback"
    for asked in (
        client.get(listed),
        client.put(feedback_on(answer), json={"rating": "down"}),
        client.delete(feedback_on(answer)),
    ):
        expect_problem(await asked, 404, "not_found")


async def test_ratings_are_listed_in_pages_in_the_order_of_the_answers(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    answers = (await answered(client, db, feed, 5))[1::2]
    for answer in reversed(answers):
        await client.put(feedback_on(answer), json={"rating": "up"})
    listed = f"{path_of(answers[0]['conversation_id'])}/feedback"
    shown: list[str] = []
    params: Json = {"limit": 2}
    while params.get("cursor", "") is not None:
        page = await get(client, listed, **params)
        shown += [feedback["message_id"] for feedback in page["feedback"]]
        params["cursor"] = page["next_cursor"]
    assert shown == [answer["id"] for answer in answers]
    for cursor in ("x", "-1", "9" * 30):
        answer = await client.get(listed, params={"cursor": cursor})
        expect_problem(answer, 400, "invalid_cursor")


async def test_a_bad_rating_is_refused_and_nothing_is_written(
    client: AsyncClient, db: Database, feed: Feed, count_rows: CountRows
) -> None:
    _, answer = await answered(client, db, feed)
    for body in [
        *({}, {"rating": "sideways"}, {"rating": None}, {"rating": "up", "comment": "x" * 2001}),
        *({"rating": "up", "comment": "a\0b"}, {"rating": "up", "comment": None}),
        {"rating": "up", "more": 1},
    ]:
        expect_problem(await client.put(feedback_on(answer), json=body), 400, "invalid_request")
    for wrong in ("x", "%00", "1"):
        expect_problem(
            await client.put(feedback_on(wrong), json={"rating": "up"}), 404, "not_found"
        )
    assert (await count_rows())["feedback"] == 0
