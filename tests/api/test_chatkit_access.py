"""Whose threads they are, who may come to `/chatkit` from where, and how often."""

from __future__ import annotations

import pytest
from httpx import AsyncClient

from api.app import create_app
from shared.db import Database
from shared.feed import Feed
from shared.settings import Settings
from tests.api.talk import Json, answer_turn, begin, expect_problem, get, limited, path_of, say
from tests.api.test_chatkit import (
    add,
    asking,
    chat,
    conversation_of,
    create,
    history,
    retry,
    shown,
    waiting_turn,
)
from tests.api.test_chatkit_refused import PATH, problem
from tests.fixtures.http import speaking
from tests.fixtures.people import Person, make_token

pytestmark = pytest.mark.anyio


async def test_somebody_elses_thread_is_not_found(
    client: AsyncClient, alice: Person, bob: Person, db: Database, feed: Feed
) -> None:
    thread_id = await conversation_of(client, db, feed, 1)
    question, answer = [item["id"] for item in await history(client, thread_id)]
    before = (await get(client, path_of(thread_id)), await history(client, thread_id))
    own = (await begin(client, title="Alice's"))["id"]
    client.headers.update(bob.headers)
    feedback = {"item_ids": [answer], "kind": "positive"}
    for kind, params in {
        "threads.get_by_id": {},
        "items.list": {},
        "threads.update": {"title": "mine"},
        "threads.delete": {},
        "items.feedback": feedback,
    }.items():
        asked = {"type": kind, "params": {"thread_id": thread_id} | params}
        await problem(client, asked, 404, "not_found")
    await problem(client, add(thread_id, "hello"), 404, "not_found")
    await problem(client, retry(thread_id, question), 404, "not_found")
    assert (await shown(client, "threads.list"))["data"] == []
    await problem(client, {"type": "threads.list", "params": {"after": own}}, 400, "invalid_cursor")
    mine = (await begin(client))["id"]
    await problem(client, retry(mine, question), 404, "not_found")
    feedback |= {"thread_id": mine}
    await problem(client, {"type": "items.feedback", "params": feedback}, 404, "not_found")
    client.headers.update(alice.headers)
    assert (await get(client, path_of(thread_id)), await history(client, thread_id)) == before


async def test_without_a_token_there_is_nothing(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    expect_problem(await client.post(PATH, json=create("x")), 401, "unauthorized")


async def test_what_makes_the_agent_work_counts_as_a_message(
    settings: Settings, alice: Person
) -> None:
    async with limited(settings, alice, limit_messages_per_minute=1) as client:
        thread = await begin(client)
        await say(client, thread, "the one")
        await problem(client, add(thread["id"], "one more"), 429, "rate_limited")
        assert (await chat(client, "threads.list")).status_code == 200
        assert (await get(client, path_of(thread)))["message_count"] == 1


async def test_no_more_streams_are_open_than_may(
    settings: Settings, alice: Person, db: Database, feed: Feed
) -> None:
    async with (
        limited(settings, alice, limit_streams=1) as client,
        asking(client, create("the one")) as (first,),
    ):
        turn = await waiting_turn(client, db, feed)
        await problem(client, create("one more"), 429, "too_many_streams")
        assert (await chat(client, "threads.list")).status_code == 200
        await answer_turn(db, feed, turn, "Done")
        assert (await first).status_code == 200


async def test_no_more_turns_wait_than_may(settings: Settings, alice: Person) -> None:
    async with limited(settings, alice, limit_queued_turns=1) as client:
        thread = await begin(client)
        await say(client, thread, "the one")
        await problem(client, add(thread["id"], "one more"), 429, "queue_full")


async def test_a_page_from_elsewhere_is_refused(settings: Settings, alice: Person) -> None:
    known = settings.model_copy(update={"parley_cors_origins": "https://parley.example"})
    listing: Json = {"type": "threads.list", "params": {}}
    async with speaking(create_app(known), alice) as client:
        made = await client.post("/api/session", headers={"Origin": "https://parley.example"})
        assert made.status_code == 201, made.text
        client.headers.pop("authorization")
        for origin, status in {
            "https://evil.example": 403,
            "": 403,
            "https://parley.example": 200,
            "http://parley.test": 200,
        }.items():
            named = {"Origin": origin} if origin else {}
            answer = await client.post(PATH, json=listing, headers=named)
            assert answer.status_code == status, (origin, answer.text)


async def test_a_token_within_its_leeway_begets_no_stream(
    client: AsyncClient, settings: Settings
) -> None:
    token = make_token(settings, "alice", seconds=-1)
    client.headers["authorization"] = f"Bearer {token}"
    await problem(client, create("x"), 401, "unauthorized")
    assert (await shown(client, "threads.list"))["data"] == []
