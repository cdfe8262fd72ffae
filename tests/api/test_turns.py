"""Cancel, retry, and what becomes of a turn when the user says something else (`on_busy`)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import LiveText
from tests.api.talk import (
    Json,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    get,
    messages_of,
    say,
)
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

WAYS = ["reject", "interrupt", "rollback", "steer"]


def turn_path(turn: Any) -> str:
    return f"/api/chat/turns/{turn['id']}"


async def cancel(client: AsyncClient, turn: Any) -> Response:
    return await client.post(f"{turn_path(turn)}/cancel")


async def retry(client: AsyncClient, turn: Any) -> Response:
    return await client.post(f"{turn_path(turn)}/retry")


async def say_now(client: AsyncClient, conversation: Json, content: str, on_busy: str) -> Response:
    return await client.post(
        messages_of(conversation), json={"content": content, "on_busy": on_busy}
    )


async def shown(client: AsyncClient, conversation: Json) -> list[tuple[str, str, str]]:
    page = await get(client, messages_of(conversation))
    assert page["total_count"] == len(page["messages"])
    return [(m["role"], m["content"], m["status"]) for m in page["messages"]]


async def fails(db: Database, turn: Any) -> None:
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text("UPDATE turns SET status = 'failed', position = null WHERE id = :id"),
            {"id": UUID(turn["id"])},
        )


async def test_a_waiting_turn_is_cancelled_at_once_and_a_second_cancel_changes_nothing(
    client: AsyncClient,
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    first = await cancel(client, said["turn"])
    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    assert first.json()["finished_at"] is not None
    again = await cancel(client, said["turn"])
    assert (again.status_code, again.json()) == (200, first.json())
    assert await shown(client, conversation) == [("user", "hello", "completed")]


async def test_a_running_turn_runs_on_until_its_worker_hears_of_it(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await claim_turn(db, feed, conversation["id"])
    answer = await cancel(client, said["turn"])
    assert (answer.status_code, answer.json()["status"]) == (202, "running")


async def test_a_completed_turn_stays_completed(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await answer_turn(db, feed, await claim_turn(db, feed, conversation["id"]), "hi")
    answer = await cancel(client, said["turn"])
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    expect_problem(await retry(client, said["turn"]), 409, "turn_not_retryable")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_somebody_elses_turn_is_not_found(
    client: AsyncClient, bob: Person, verb: str
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    path = f"{turn_path(said['turn'])}/{verb}"
    expect_problem(await client.post(path, headers=bob.headers), 404, "not_found")
    expect_problem(await client.post(f"/api/chat/turns/{new_id()}/{verb}"), 404, "not_found")
    assert (await get(client, turn_path(said["turn"])))["status"] == "queued"


async def test_a_cancelled_turn_waits_again_when_it_is_retried(client: AsyncClient) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await cancel(client, said["turn"])
    answer = await retry(client, said["turn"])
    turn = answer.json()
    assert answer.status_code == 202
    assert (turn["id"], turn["status"], turn["position"]) == (said["turn"]["id"], "queued", 1)
    assert (turn["error"], turn["finished_at"]) == (None, None)
    expect_problem(await retry(client, said["turn"]), 409, "turn_not_retryable")


async def test_only_the_last_turn_can_be_retried(client: AsyncClient, db: Database) -> None:
    conversation = await begin(client)
    first = await say(client, conversation, "hello")
    await fails(db, first["turn"])
    last = await say(client, conversation, "hello?")
    expect_problem(await retry(client, first["turn"]), 409, "turn_not_retryable")
    await cancel(client, last["turn"])
    assert (await retry(client, last["turn"])).status_code == 202


async def test_a_failed_turn_is_retried(client: AsyncClient, db: Database) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await fails(db, said["turn"])
    assert (await retry(client, said["turn"])).json()["status"] == "queued"


@pytest.mark.parametrize("on_busy", WAYS)
async def test_where_nothing_waits_or_runs_every_way_is_the_same(
    client: AsyncClient, on_busy: str
) -> None:
    conversation = await begin(client)
    answer = await say_now(client, conversation, "hello", on_busy)
    assert (answer.status_code, answer.json()["turn"]["position"]) == (202, 1)


async def test_an_unknown_way_is_refused_and_changes_nothing(client: AsyncClient) -> None:
    conversation = await begin(client)
    expect_problem(await say_now(client, conversation, "hello", "hope"), 400, "invalid_request")
    assert await shown(client, conversation) == []


async def test_reject_says_busy_and_writes_nothing(client: AsyncClient) -> None:
    conversation = await begin(client)
    await say(client, conversation, "hello")
    expect_problem(await say_now(client, conversation, "more", "reject"), 409, "conversation_busy")
    assert await shown(client, conversation) == [("user", "hello", "completed")]


async def test_interrupt_keeps_what_was_streamed_by_a_worker_that_is_gone(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    turn = await claim_turn(db, feed, conversation["id"])
    live = LiveText(turn.id, new_id(), turn.attempt, turn.seq, "Once upon")
    await feed.delta(turn.conversation_id, live, 0)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("DELETE FROM workers"))
    answer = await say_now(client, conversation, "something else", "interrupt")
    assert answer.status_code == 202
    assert (await get(client, turn_path(said["turn"])))["status"] == "cancelled"
    assert await shown(client, conversation) == [
        ("user", "hello", "completed"),
        ("assistant", "Once upon", "cancelled"),
        ("user", "something else", "completed"),
    ]
    since = await get(client, messages_of(conversation), since=answer.json()["since"])
    assert [m["content"] for m in since["messages"]] == ["something else"]


async def test_interrupt_cancels_the_head_and_leaves_those_that_wait_behind_it(
    client: AsyncClient,
) -> None:
    conversation = await begin(client)
    turns = [(await say(client, conversation, f"say {n}"))["turn"] for n in range(2)]
    answer = await say_now(client, conversation, "more", "interrupt")
    found = [await get(client, turn_path(turn)) for turn in [*turns, answer.json()["turn"]]]
    assert [turn["status"] for turn in found] == ["cancelled", "queued", "queued"]
    assert [turn["position"] for turn in found] == [None, 1, 2]


async def test_interrupt_asks_the_holder_to_end_its_turn(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await claim_turn(db, feed, conversation["id"])
    answer = await say_now(client, conversation, "more", "interrupt")
    assert answer.json()["turn"]["position"] == 1
    assert (await get(client, turn_path(said["turn"])))["status"] == "running"
    async with db.snapshot(EVERYONE) as tx:
        asked = await tx.scalar(text("SELECT count(cancel_requested_at) FROM turns"))
    assert asked == 1


async def test_rollback_takes_the_turn_and_its_messages_out(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    await say(client, conversation, "first")
    await answer_turn(db, feed, await claim_turn(db, feed, conversation["id"]), "hi")
    said = await say(client, conversation, "a mistake")
    await claim_turn(db, feed, conversation["id"])
    seen = (await get(client, messages_of(conversation)))["next_since"]
    answer = await say_now(client, conversation, "what I meant", "rollback")
    assert answer.status_code == 202
    assert (await get(client, turn_path(said["turn"])))["status"] == "cancelled"
    assert await shown(client, conversation) == [
        ("user", "first", "completed"),
        ("assistant", "hi", "completed"),
        ("user", "what I meant", "completed"),
    ]
    told = await get(client, messages_of(conversation), since=seen)
    assert [(m["content"], m["status"]) for m in told["messages"]] == [
        ("a mistake", "withdrawn"),
        ("what I meant", "completed"),
    ]
    listed = await get(client, f"/api/chat/conversations/{conversation['id']}")
    assert (listed["message_count"], listed["last_message_preview"]) == (3, "what I meant")
    expect_problem(await retry(client, said["turn"]), 409, "turn_not_retryable")


async def test_steer_says_it_within_the_turn_at_work(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await claim_turn(db, feed, conversation["id"])
    answer = await say_now(client, conversation, "in French", "steer")
    steered = answer.json()
    assert answer.status_code == 202
    assert steered["turn"]["id"] == said["turn"]["id"]
    assert steered["message"]["turn_id"] == said["turn"]["id"]
    assert answer.headers["location"] == turn_path(said["turn"])
    assert len((await get(client, messages_of(conversation)))["turns"]) == 1
    since = await get(client, messages_of(conversation), since=steered["since"])
    assert [m["content"] for m in since["messages"]] == ["in French"]


async def test_a_turn_that_is_being_cancelled_is_not_steered(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    await claim_turn(db, feed, conversation["id"])
    await cancel(client, said["turn"])
    answer = await say_now(client, conversation, "in French", "steer")
    assert answer.json()["turn"]["id"] != said["turn"]["id"]
