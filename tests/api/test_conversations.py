from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.store.calls import new_call, start_calls
from shared.store.sequence import take_seqs
from tests.api.talk import (
    CONVERSATIONS,
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

pytestmark = pytest.mark.anyio


async def pages(client: AsyncClient, limit: int) -> list[str]:
    found: list[str] = []
    params: Json = {"limit": limit}
    while True:
        page = await get(client, CONVERSATIONS, **params)
        assert len(page["conversations"]) <= limit
        found += [conversation["id"] for conversation in page["conversations"]]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


async def test_a_new_conversation_is_empty_and_called_by_the_date(client: AsyncClient) -> None:
    conversation = await begin(client)
    assert re.fullmatch(r"Chat - \d{4}-\d\d-\d\d \d\d:\d\d", conversation["title"])
    assert conversation["message_count"] == 0
    assert conversation["last_message_preview"] == ""
    assert conversation["seq"] == 0
    assert conversation["active_turn"] is None
    assert conversation["created_at"].endswith("Z")
    assert await get(client, path_of(conversation)) == conversation


async def test_the_first_message_names_the_conversation(client: AsyncClient) -> None:
    conversation = await begin(client)
    await say(client, conversation, "Please  plan\nmy trip: " + "x" * 100)
    found = await get(client, path_of(conversation))
    assert found["title"] == ("Please plan my trip: " + "x" * 100)[:50]
    assert found["last_message_preview"] == ("Please plan my trip: " + "x" * 100)[:100]
    await say(client, conversation, "and another thing")
    later = await get(client, path_of(conversation))
    assert later["title"] == found["title"]
    assert later["last_message_preview"] == "and another thing"
    assert later["message_count"] == 2


async def test_a_title_the_user_chose_is_never_overwritten(client: AsyncClient) -> None:
    given = await begin(client, title="Mine")
    renamed = await begin(client)
    answer = await client.patch(path_of(renamed), json={"title": "Mine too"})
    assert answer.json()["title"] == "Mine too"
    for conversation, title in ((given, "Mine"), (renamed, "Mine too")):
        await say(client, conversation, "hello")
        assert (await get(client, path_of(conversation)))["title"] == title


async def test_renaming_is_a_change_of_its_own(client: AsyncClient) -> None:
    conversation = await begin(client)
    for number, method in enumerate(("PUT", "PATCH"), start=1):
        answer = await client.request(method, path_of(conversation), json={"title": f"t{number}"})
        assert answer.status_code == 200
        assert answer.json()["seq"] == number
        assert await get(client, path_of(conversation)) == answer.json()


async def test_the_list_shows_the_last_change_first(client: AsyncClient) -> None:
    first, second = await begin(client), await begin(client)
    assert await pages(client, 10) == [second["id"], first["id"]]
    await say(client, first, "hello")
    assert await pages(client, 10) == [first["id"], second["id"]]


async def test_pages_are_whole_and_without_doubles_even_where_times_are_equal(
    client: AsyncClient, db: Database
) -> None:
    made = [(await begin(client))["id"] for _ in range(11)]
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE conversations SET updated_at = '2026-01-01T00:00:00.1234Z'"))
    for limit in (1, 3, 10, 11, 100):
        found = await pages(client, limit)
        assert found == sorted(made, reverse=True)


async def test_a_page_is_not_moved_by_what_changes_meanwhile(client: AsyncClient) -> None:
    made = [(await begin(client))["id"] for _ in range(4)]
    page = await get(client, CONVERSATIONS, limit=2)
    await begin(client)
    rest = await get(client, CONVERSATIONS, limit=2, cursor=page["next_cursor"])
    shown = [found["id"] for found in page["conversations"] + rest["conversations"]]
    assert shown == made[::-1]


async def test_the_conversation_shows_its_active_turn(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    assert (await get(client, path_of(conversation)))["active_turn"] == said["turn"]
    turn = await claim_turn(db, feed, conversation["id"])
    running = (await get(client, path_of(conversation)))["active_turn"]
    assert (running["status"], running["attempt"]) == ("running", 1)
    await answer_turn(db, feed, turn, "hi")
    found = await get(client, path_of(conversation))
    assert found["active_turn"] is None
    assert found["message_count"] == 2
    assert found["last_message_preview"] == "hi"


async def test_deleting_cancels_what_waits_and_runs(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    for content in ("one", "two", "three"):
        await say(client, conversation, content)
    await claim_turn(db, feed, conversation["id"])
    answer = await client.delete(path_of(conversation))
    assert (answer.status_code, answer.content) == (204, b"")
    async with db.snapshot(EVERYONE) as tx:
        rows = await tx.all(text("SELECT status, position, finished_at, changed_seq FROM turns"))
        last = await tx.scalar(text("SELECT last_seq FROM conversations"))
    assert {row.status for row in rows} == {"cancelled"}
    assert all(row.position is None and row.finished_at is not None for row in rows)
    assert sorted(row.changed_seq for row in rows) == [last - 3, last - 2, last - 1]
    expect_problem(await client.delete(path_of(conversation)), 404, "not_found")
    expect_problem(await client.get(messages_of(conversation)), 404, "not_found")


async def test_deleting_gives_every_open_tool_call_a_result(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    await say(client, conversation, "what is on my list?")
    turn = await claim_turn(db, feed, conversation["id"])
    async with db.transaction(EVERYONE) as tx:
        seq = await take_seqs(tx, turn.conversation_id, 2)
        await start_calls(
            tx,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            seq=seq,
            calls=[new_call("list_tasks", {}), new_call("list_tasks", {})],
        )
    assert (await client.delete(path_of(conversation))).status_code == 204
    async with db.snapshot(EVERYONE) as tx:
        rows = await tx.all(text("SELECT status, content FROM messages WHERE role = 'tool'"))
    assert [row.status for row in rows] == ["cancelled"] * 2
    assert all("outcome_unknown" in row.content for row in rows)


async def test_the_location_of_a_turn_is_its_address(client: AsyncClient) -> None:
    conversation = await begin(client)
    answer = await client.post(messages_of(conversation), json={"content": "hello"})
    location = answer.headers["location"]
    assert urlsplit(location).path == f"/api/chat/turns/{answer.json()['turn']['id']}"
    assert await get(client, location) == answer.json()["turn"]
