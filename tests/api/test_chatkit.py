"""ChatKit's protocol over our rows: what a client of it shows is what the history says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar

from shared.db import Database
from shared.events import Turn
from shared.feed import Feed
from tests.api.talk import (
    CONVERSATIONS,
    Json,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    get,
    keyed,
    messages_of,
    path_of,
    say,
)
from tests.api.test_chatkit_relay import ITEM, ITEMS, THREAD, THREADS, View
from tests.fixtures.processes import ROOT
from tests.fixtures.waiting import DEADLINE_SECONDS, until

pytestmark = pytest.mark.anyio

Asking = asyncio.Task[Response]

LOADED = "print(*sorted({n.partition('.')[0] for n in sys.modules} & {'chatkit', 'agents'}))"
WITHOUT = f"import sys, api.main; {LOADED}; import api.chatkit.answer; {LOADED}"


def view_of(answer: Response) -> View:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return View().hear_all(answer.text.split("\n"))


def said(text: str, **more: Any) -> Json:
    parts = [{"type": "input_text", "text": text}]
    found: Json = {"content": parts, "attachments": [], "inference_options": {}}
    return found | more


def create(text: str) -> Json:
    return {"type": "threads.create", "params": {"input": said(text)}}


def add(thread_id: str, text: str) -> Json:
    params = {"thread_id": thread_id, "input": said(text)}
    return {"type": "threads.add_user_message", "params": params}


def retry(thread_id: str, item_id: str) -> Json:
    params = {"thread_id": thread_id, "item_id": item_id}
    return {"type": "threads.retry_after_item", "params": params}


async def chat(client: AsyncClient, kind: str, /, **params: Any) -> Response:
    return await client.post("/chatkit", json={"type": kind, "params": params})


async def shown(client: AsyncClient, kind: str, /, **params: Any) -> Json:
    answer = await chat(client, kind, **params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


async def history(client: AsyncClient, thread_id: str) -> list[Json]:
    found = await shown(client, "items.list", thread_id=thread_id, order="asc", limit=1000)
    page = ITEMS.validate_python(found)
    assert not page.has_more
    return [ITEM.dump_python(item) for item in page.data]


async def expect_history(client: AsyncClient, thread_id: str, view: View) -> None:
    items = [ITEM.dump_python(item) for item in view.items.values()]
    assert items == await history(client, thread_id)


async def waiting_turn(client: AsyncClient, db: Database, feed: Feed, thread_id: str = "") -> Turn:
    """Of the conversation, or of whichever is new; a worker takes it."""

    async def look() -> str | None:
        if thread_id:
            found = [await get(client, path_of(thread_id))]
        else:
            found = (await get(client, CONVERSATIONS))["conversations"]
        waits = [one["id"] for one in found if one["active_turn"]]
        return waits[0] if waits else None

    return await claim_turn(db, feed, str(await until(look)))


@asynccontextmanager
async def asking(
    client: AsyncClient, *asked: Json, key: str | None = None
) -> AsyncGenerator[list[Asking]]:
    """Streams that are being read; what is left of them at the end is given up."""
    headers = keyed(key) if key else {}
    tasks = [
        asyncio.create_task(client.post("/chatkit", json=one, headers=headers)) for one in asked
    ]
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(
    client: AsyncClient, db: Database, feed: Feed, asked: Json, answer: str = "Hello"
) -> View:
    """A request and a worker that answers it."""
    async with asking(client, asked) as (heard,):
        turn = await waiting_turn(client, db, feed, asked["params"].get("thread_id", ""))
        await answer_turn(db, feed, turn, answer)
        return view_of(await heard)


def feed_of(app: Litestar) -> Feed:
    """As the application's own viewers hear it."""
    found: Any = app.dependencies["feed"]
    return found.dependency()


async def conversation_of(client: AsyncClient, db: Database, feed: Feed, turns: int) -> str:
    conversation = await begin(client)
    for number in range(turns):
        await say(client, conversation, f"question {number}")
        turn = await claim_turn(db, feed, conversation["id"])
        await answer_turn(db, feed, turn, f"answer {number}")
    found: str = conversation["id"]
    return found


async def test_a_new_thread_is_a_conversation_and_its_items_are_the_messages(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    view = await ask(client, db, feed, create("Hello there"), "Hello to you")
    assert view.thread is not None
    assert view.thread.title == "Hello there"
    assert view.kinds[:3] == ["thread.created", "stream_options", "thread.item.done"]
    assert [item.type for item in view.items.values()] == ["user_message", "assistant_message"]
    assert view.text == "Hello to you"
    found = await get(client, messages_of(view.thread.id))
    assert [message["id"] for message in found["messages"]] == list(view.items)
    await expect_history(client, view.thread.id, view)


async def test_another_message_goes_on_in_the_thread(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    thread_id = await conversation_of(client, db, feed, 1)
    view = await ask(client, db, feed, add(thread_id, "And then?"), "Nothing")
    assert "thread.created" not in view.kinds
    assert [item.type for item in view.items.values()] == ["user_message", "assistant_message"]
    items = await history(client, thread_id)
    assert [item["id"] for item in items][2:] == list(view.items)


async def test_what_is_quoted_stands_before_what_is_said(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    parts = [{"type": "input_text", "text": "Ask "}]
    tag: Json = {"type": "input_tag", "id": "1", "text": "@Bob", "data": {}}
    asked = create("")
    asked["params"]["input"] = said("") | {"content": [*parts, tag], "quoted_text": "a\nb"}
    view = await ask(client, db, feed, asked)
    assert view.thread is not None
    found = await get(client, messages_of(view.thread.id))
    assert found["messages"][0]["content"] == "> a\n> b\n\nAsk @Bob"


async def test_items_are_paged_both_ways(client: AsyncClient, db: Database, feed: Feed) -> None:
    thread_id = await conversation_of(client, db, feed, 3)
    ids = [item["id"] for item in await history(client, thread_id)]
    assert len(ids) == 6
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        for by_id in (False, True):
            seen: list[str] = []
            after: str | None = None
            more = True
            while more:
                page = await shown(
                    client, "items.list", thread_id=thread_id, order=order, limit=4, after=after
                )
                seen += [item["id"] for item in page["data"]]
                more = page["has_more"]
                after = seen[-1] if by_id else page.get("after")
            assert seen == expected, (order, by_id)
    thread = await shown(client, "threads.get_by_id", thread_id=thread_id)
    assert [
        item["id"] for item in THREAD.validate_python(thread).model_dump()["items"]["data"]
    ] == (ids)


async def test_threads_are_listed_renamed_and_deleted(client: AsyncClient) -> None:
    ids = [(await begin(client, title=f"number {n}"))["id"] for n in range(5)][::-1]
    for by_id in (False, True):
        seen: list[str] = []
        after, more = None, True
        while more:
            page = await shown(client, "threads.list", limit=2, after=after)
            seen += [thread["id"] for thread in THREADS.validate_python(page).model_dump()["data"]]
            more = page["has_more"]
            after = seen[-1] if by_id else page.get("after")
        assert seen == ids
    renamed = await shown(client, "threads.update", thread_id=ids[4], title="The first")
    assert (renamed["id"], renamed["title"]) == (ids[4], "The first")
    assert (await get(client, path_of(ids[4])))["title"] == "The first"
    assert await shown(client, "threads.delete", thread_id=ids[4]) == {}
    expect_problem(await client.get(path_of(ids[4])), 404, "not_found")
    listed = await shown(client, "threads.list")
    assert [thread["id"] for thread in listed["data"]] == ids[:4]
    assert listed["has_more"] is False
    again = await chat(client, "threads.delete", thread_id=ids[4])
    expect_problem(again, 404, "not_found")


async def test_answers_are_rated(client: AsyncClient, db: Database, feed: Feed) -> None:
    thread_id = await conversation_of(client, db, feed, 1)
    question, answer = [item["id"] for item in await history(client, thread_id)]
    both = {"thread_id": thread_id, "item_ids": [question, answer]}
    assert await shown(client, "items.feedback", **both, kind="negative") == {}
    listed = await get(client, f"{path_of(thread_id)}/feedback")
    assert [(f["message_id"], f["rating"]) for f in listed["feedback"]] == [(answer, "down")]
    own = await chat(
        client, "items.feedback", thread_id=thread_id, item_ids=[question], kind="positive"
    )
    expect_problem(own, 409, "message_not_rateable")
    elsewhere = (await begin(client))["id"]
    other = await chat(
        client, "items.feedback", thread_id=elsewhere, item_ids=[answer], kind="positive"
    )
    expect_problem(other, 404, "not_found")


async def test_a_request_repeated_under_its_key_is_one_message(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    async with asking(client, create("Hello"), key="k") as (first,):
        await answer_turn(db, feed, await waiting_turn(client, db, feed), "Hello to you")
        views = [view_of(await first)]
    async with asking(client, create("Hello"), key="k") as (again,):
        views.append(view_of(await again))
    assert views[0].items == views[1].items
    assert len((await get(client, CONVERSATIONS))["conversations"]) == 1
    other = await client.post("/chatkit", json=create("Bye"), headers=keyed())
    expect_problem(other, 422, "idempotency_key_reused")


async def test_what_is_sent_anew_while_it_is_being_answered_is_one_message(
    client: AsyncClient, app: Litestar, db: Database, feed: Feed
) -> None:
    thread_id = (await begin(client))["id"]
    asked = add(thread_id, "Go on")
    async with asking(client, asked, asked) as both:
        turn = await waiting_turn(client, db, feed, thread_id)
        await until(lambda: len(feed_of(app).viewers) == 2)
        assert (await get(client, path_of(thread_id)))["message_count"] == 1
        await answer_turn(db, feed, turn, "On")
        views = [view_of(answer) for answer in await asyncio.gather(*both)]
    assert views[0].items == views[1].items


async def test_the_same_text_is_another_message_once_the_first_is_answered(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    thread_id = (await begin(client))["id"]
    for _ in range(2):
        await ask(client, db, feed, add(thread_id, "Go on"))
    assert (await get(client, path_of(thread_id)))["message_count"] == 4


async def test_the_api_starts_without_the_package_and_never_loads_the_agents() -> None:
    printed = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-c", WITHOUT], capture_output=True, check=True, cwd=ROOT, text=True
        )
    )
    assert printed.stdout.split("\n")[:2] == ["", "chatkit"]
