from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from httpx import AsyncClient

from shared.db import Database
from shared.events import ConversationUpdated, MessageCreated, TurnUpdated
from shared.feed import Feed
from shared.publisher import Changes
from tests.api.talk import (
    Json,
    answer_turn,
    begin,
    claim_turn,
    get,
    messages_of,
    path_of,
    say,
)

pytestmark = pytest.mark.anyio


async def talk(client: AsyncClient, db: Database, feed: Feed, rounds: int) -> Json:
    conversation = await begin(client)
    for number in range(rounds):
        await say(client, conversation, f"question {number}")
        turn = await claim_turn(db, feed, conversation["id"])
        await answer_turn(db, feed, turn, f"answer {number}")
    return conversation


async def test_a_message_is_accepted_with_its_turn_and_a_cursor(client: AsyncClient) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    assert said.keys() == {"message", "turn", "since"}
    assert said["since"] == 0
    assert (said["message"]["seq"], said["message"]["role"]) == (1, "user")
    assert said["message"]["turn_id"] == said["turn"]["id"]
    assert said["turn"]["user_message_id"] == said["message"]["id"]
    assert (said["turn"]["status"], said["turn"]["position"]) == ("queued", 1)
    assert (await get(client, path_of(conversation)))["seq"] == 3


async def test_following_from_the_answers_cursor_shows_everything_from_the_message_on(
    client: AsyncClient,
) -> None:
    conversation = await begin(client)
    await say(client, conversation, "one")
    said = await say(client, conversation, "two")
    found = await get(client, messages_of(conversation), since=said["since"])
    assert found["messages"] == [said["message"]]
    assert found["turns"] == [said["turn"]]


async def test_turns_wait_in_the_order_of_their_messages(client: AsyncClient) -> None:
    conversation = await begin(client)
    turns = [(await say(client, conversation, str(number)))["turn"] for number in range(3)]
    assert [turn["position"] for turn in turns] == [1, 2, 3]


async def test_messages_sent_at_once_take_numbers_without_a_gap(client: AsyncClient) -> None:
    conversation = await begin(client)
    said = await asyncio.gather(*(say(client, conversation, str(n)) for n in range(12)))
    found = await get(client, messages_of(conversation), since=0)
    last = (await get(client, path_of(conversation)))["seq"]
    seqs = [item["seq"] for item in found["messages"] + found["turns"]]
    assert last == 2 * 12 + 1  # the first message named the conversation
    assert len(set(seqs)) == 2 * 12
    assert sorted(answer["turn"]["position"] for answer in said) == list(range(1, 13))


async def test_everything_since_the_beginning_is_what_get_shows(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await talk(client, db, feed, 3)
    await say(client, conversation, "one more")
    shown = await get(client, messages_of(conversation))
    changed = await get(client, messages_of(conversation), since=0)
    for name in ("messages", "turns"):
        by_id = {item["id"]: item for item in changed[name]}
        assert by_id == {item["id"]: item for item in shown[name]}
        assert len(by_id) == len(changed[name])
    for name in ("total_count", "next_since", "has_more"):
        assert changed[name] == shown[name]
    assert shown["total_count"] == len(shown["messages"]) == 7


async def test_changes_come_in_pages_without_a_gap_or_a_double(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await talk(client, db, feed, 3)
    whole = await get(client, messages_of(conversation), since=0)
    for limit in (1, 2, 5):
        since, messages, turns = 0, list[Json](), list[Json]()
        while True:
            page = await get(client, messages_of(conversation), since=since, limit=limit)
            assert len(page["messages"]) + len(page["turns"]) <= limit
            messages += page["messages"]
            turns += page["turns"]
            since = page["next_since"]
            if not page["has_more"]:
                break
        assert (messages, turns, since) == (whole["messages"], whole["turns"], whole["next_since"])


async def test_history_pages_back_to_its_beginning(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await talk(client, db, feed, 4)
    whole = await get(client, messages_of(conversation))
    assert not whole["has_more"]
    newest = await get(client, messages_of(conversation), limit=3)
    assert newest["messages"] == whole["messages"][-3:]
    assert newest["has_more"]
    assert newest["next_since"] == whole["next_since"]
    assert {turn["id"] for turn in newest["turns"]} == {
        message["turn_id"] for message in newest["messages"]
    }
    found, before = list[Json](), newest["messages"][0]["seq"]
    while True:
        page = await get(client, messages_of(conversation), limit=2, before=before)
        found = page["messages"] + found
        if not page["has_more"]:
            break
        before = page["messages"][0]["seq"]
    assert found + newest["messages"] == whole["messages"]


async def test_turns_that_wait_are_shown_with_every_page(client: AsyncClient) -> None:
    conversation = await begin(client)
    said = [await say(client, conversation, str(number)) for number in range(3)]
    page = await get(client, messages_of(conversation), limit=1)
    assert [turn["id"] for turn in page["turns"]] == [answer["turn"]["id"] for answer in said]


async def test_a_time_may_stand_for_a_cursor(client: AsyncClient) -> None:
    conversation = await begin(client)
    first = await say(client, conversation, "one")
    second = await say(client, conversation, "two")
    time = first["message"]["created_at"]
    for since in (time, time.replace("Z", "+00:00")):
        found = await get(client, messages_of(conversation), since=since)
        assert [message["id"] for message in found["messages"]] == [second["message"]["id"]]
    # A "+" that was not quoted arrives as a space.
    answer = await client.get(f"{messages_of(conversation)}?since={time.replace('Z', '+00:00')}")
    assert len(answer.json()["messages"]) == 1
    everything = await get(client, messages_of(conversation), since="2000-01-01T00:00:00+02:00")
    assert len(everything["messages"]) == 2


async def test_nothing_new_is_empty_lists_and_the_same_cursor(client: AsyncClient) -> None:
    conversation = await begin(client)
    await say(client, conversation, "hello")
    last = (await get(client, path_of(conversation)))["seq"]
    found = await get(client, messages_of(conversation), since=last)
    assert found == {
        "messages": [],
        "turns": [],
        "total_count": 1,
        "next_since": last,
        "has_more": False,
    }


async def test_what_was_committed_is_told_and_rung(
    client: AsyncClient, feed: Feed, redis: object
) -> None:
    conversation = await begin(client)
    async with feed.subscribe(UUID(conversation["id"])) as viewer:
        said = await say(client, conversation, "hello")
        told = await viewer.wait(5)
        await client.put(path_of(conversation), json={"title": "x"})
        renamed = await viewer.wait(5)
        await client.delete(path_of(conversation))
        deleted = await viewer.wait(5)
    (changes,) = [item.changes for item in told if isinstance(item, Changes)]
    assert [change.seq for change in changes] == [1, 2, 3]
    assert [type(change) for change in changes] == [
        MessageCreated,
        TurnUpdated,
        ConversationUpdated,
    ]
    assert isinstance(changes[0], MessageCreated)
    assert str(changes[0].message.id) == said["message"]["id"]
    assert isinstance(renamed[0], Changes)
    assert [change.seq for change in renamed[0].changes] == [4]
    assert isinstance(deleted[0], Changes)
    assert [change.seq for change in deleted[0].changes] == [5, 6]
