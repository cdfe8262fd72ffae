from __future__ import annotations

import asyncio
import time

import pytest
from httpx import AsyncClient

from shared.db import Database
from shared.feed import Feed
from tests.api.talk import (
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    get,
    messages_of,
    path_of,
    say,
)
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def viewers(feed: Feed, redis: object, conversation_id: str) -> bool:
    from arq.connections import ArqRedis

    assert isinstance(redis, ArqRedis)
    name = f"parley:feed:{conversation_id}"
    found = await redis.pubsub_numsub(name)  # pyright: ignore[reportUnknownMemberType]
    return bool(found[0][1])


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the application starts: it will not look by itself whether there is something new."""
    for name in ("LOOK_SECONDS", "LOOK_SECONDS_WITHOUT_FEED"):
        monkeypatch.setattr(f"api.lookout.{name}", 3600.0)


@pytest.mark.usefixtures("no_look")
async def test_a_waiting_reader_is_told_as_soon_as_something_is_committed(
    client: AsyncClient, feed: Feed, redis: object
) -> None:
    conversation = await begin(client)
    path = messages_of(conversation)
    reading = asyncio.create_task(get(client, path, since=0, wait=20))
    await until(lambda: viewers(feed, redis, conversation["id"]))
    said = await say(client, conversation, "hello")
    found = await asyncio.wait_for(reading, timeout=15)
    assert found["messages"] == [said["message"]]
    assert found["next_since"] == 3


async def test_a_reader_waits_no_longer_than_it_said(client: AsyncClient) -> None:
    conversation = await begin(client)
    began = time.monotonic()
    found = await get(client, messages_of(conversation), since=0, wait=0.3)
    assert 0.3 <= time.monotonic() - began < 1.5
    assert (found["messages"], found["turns"], found["next_since"]) == ([], [], 0)


async def test_a_reader_without_a_cursor_does_not_wait(client: AsyncClient) -> None:
    conversation = await begin(client)
    began = time.monotonic()
    await get(client, messages_of(conversation), wait=20)
    assert time.monotonic() - began < 2


async def test_a_reader_who_waits_learns_of_a_new_title_by_its_cursor(
    client: AsyncClient, feed: Feed, redis: object
) -> None:
    conversation = await begin(client)
    reading = asyncio.create_task(get(client, messages_of(conversation), since=0, wait=20))
    await until(lambda: viewers(feed, redis, conversation["id"]))
    await client.put(path_of(conversation), json={"title": "x"})
    found = await reading
    assert (found["messages"], found["turns"], found["next_since"]) == ([], [], 1)


async def test_a_reader_who_waits_learns_that_the_conversation_is_deleted(
    client: AsyncClient, feed: Feed, redis: object
) -> None:
    conversation = await begin(client)
    path = messages_of(conversation)
    reading = asyncio.create_task(client.get(path, params={"since": 0, "wait": 20}))
    await until(lambda: viewers(feed, redis, conversation["id"]))
    await client.delete(path_of(conversation))
    expect_problem(await reading, 404, "not_found")


async def test_a_message_that_waits_is_answered_with_the_answer(
    client: AsyncClient, db: Database, feed: Feed, redis: object
) -> None:
    conversation = await begin(client)
    asking = asyncio.create_task(
        client.post(messages_of(conversation), params={"wait": 20}, json={"content": "hello"})
    )
    await until(lambda: viewers(feed, redis, conversation["id"]))
    turn = await claim_turn(db, feed, conversation["id"])
    await answer_turn(db, feed, turn, "hi there")
    answer = await asking
    assert answer.status_code == 200
    found = answer.json()
    assert found["assistant_message"]["content"] == "hi there"
    assert found["turn"]["status"] == "completed"
    assert found["message"]["content"] == "hello"
    assert found["since"] == 0
    assert answer.headers["location"].endswith(found["turn"]["id"])


async def test_a_message_whose_wait_runs_out_is_accepted_all_the_same(client: AsyncClient) -> None:
    conversation = await begin(client)
    answer = await client.post(
        messages_of(conversation), params={"wait": 0.2}, json={"content": "hello"}
    )
    assert answer.status_code == 202
    assert answer.json()["assistant_message"] is None
    assert answer.json()["turn"]["status"] == "queued"
    assert (await get(client, path_of(conversation)))["message_count"] == 1
