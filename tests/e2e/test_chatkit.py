"""A client of ChatKit and the whole service: whatever happens, it shows what the history says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api.talk import Json, get, path_of
from tests.api.test_chatkit import add, create, expect_history, history, retry, shown
from tests.api.test_chatkit_relay import View
from tests.fixtures.service import Service, StartService
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def hear(service: Service, asked: Json, view: View) -> None:
    async with service.client.stream("POST", "/chatkit", json=asked) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            view.hear_all([line])


async def ask(service: Service, asked: Json) -> View:
    view = View()
    await hear(service, asked, view)
    return view


@asynccontextmanager
async def at_work(service: Service, asked: Json) -> AsyncGenerator[tuple[str, View]]:
    """The thread and what is shown of it once the first word is there; the end is waited for."""
    view = View()
    hearing = asyncio.create_task(hear(service, asked, view))
    await until(lambda: hearing.done() or view.text == "First ")
    assert view.thread is not None
    yield view.thread.id, view
    await hearing


async def turn_of(service: Service, thread_id: str) -> Json:
    found: Json = (await service.messages(thread_id))["turns"][-1]
    return found


async def test_a_conversation_with_a_tool(service: Service) -> None:
    view = await ask(service, create("say Hello to you"))
    assert view.thread is not None
    thread_id = view.thread.id
    call = 'call create_task {"title": "Water the plants"}'
    await hear(service, add(thread_id, call), view)
    assert [item.type for item in view.items.values()] == [
        *("user_message", "assistant_message"),
        *("user_message", "workflow", "assistant_message"),
    ]
    told = [event.text for event in view.events if event.type == "progress_update"]
    assert told == ["AI is using: create_task"]
    await expect_history(service.client, thread_id, view)
    listed = await shown(service.client, "threads.list")
    assert [thread["id"] for thread in listed["data"]] == [thread_id]
    tasks = await get(service.client, "/api/tasks")
    assert [task["title"] for task in tasks["tasks"]] == ["Water the plants"]


async def test_pages_are_full_although_some_messages_are_no_items(service: Service) -> None:
    view = await ask(service, create('call create_task {"title": "a"}'))
    assert view.thread is not None
    ids: list[str] = []
    after, more = None, True
    while more:
        page = await shown(
            service.client,
            "items.list",
            thread_id=view.thread.id,
            order="asc",
            limit=1,
            after=after,
        )
        assert len(page["data"]) == 1
        ids += [item["id"] for item in page["data"]]
        after, more = page.get("after"), page["has_more"]
    assert ids == list(view.items)
    assert len(ids) == 3


async def test_who_leaves_finds_the_answer_in_the_history(service: Service) -> None:
    view = View()
    hearing = asyncio.create_task(hear(service, create("gated First then the rest"), view))
    await until(lambda: view.text == "First ")
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    service.stand_in.open_gate()
    assert view.thread is not None
    thread_id = view.thread.id

    async def ended() -> bool:
        return (await turn_of(service, thread_id))["status"] == "completed"

    await until(ended)
    items = await history(service.client, thread_id)
    assert [item["id"] for item in items] == list(view.items)
    assert items[-1]["content"][0]["text"] == "First then the rest"


async def test_who_comes_back_by_retrying_hears_the_same_turn(service: Service) -> None:
    async with at_work(service, create("gated First then the rest")) as (thread_id, view):
        question = next(iter(view.items))
        again = View()
        again.items[question] = view.items[question]
        hearing = asyncio.create_task(hear(service, retry(thread_id, question), again))
        await until(lambda: hearing.done() or again.text == "First ")
        service.stand_in.open_gate()
        await hearing
    assert again.items == view.items
    await expect_history(service.client, thread_id, again)
    assert (await turn_of(service, thread_id))["attempt"] == 1


async def test_a_killed_worker_leaves_the_client_with_what_the_history_says(
    start_service: StartService,
) -> None:
    service = await start_service(worker={"parley_lease_seconds": 1, "parley_sweep_seconds": 0.2})
    async with at_work(service, create("gated First then the rest")) as (thread_id, view):
        await service.workers[0].kill()
        service.stand_in.open_gate()
        await service.another_worker()
    assert "thread.item.removed" in view.kinds
    assert view.text == "First then the rest"
    assert len(view.items) == 2
    await expect_history(service.client, thread_id, view)
    assert (await turn_of(service, thread_id))["attempt"] == 2


async def test_a_cancelled_turn_is_retried(service: Service) -> None:
    async with at_work(service, create("gated First then the rest")) as (thread_id, view):
        turn = await turn_of(service, thread_id)
        await service.client.post(f"/api/chat/turns/{turn['id']}/cancel")
    assert view.kinds[-1] == "notice"
    assert view.text == "First "
    await expect_history(service.client, thread_id, view)
    service.stand_in.open_gate()
    await hear(service, retry(thread_id, next(iter(view.items))), view)
    assert view.text == "First First then the rest"
    await expect_history(service.client, thread_id, view)


async def test_a_turn_that_is_rolled_back_leaves_nothing(service: Service) -> None:
    async with at_work(service, create("gated First then the rest")) as (thread_id, view):
        said: Json = {"content": "say Other", "on_busy": "rollback"}
        answer = await service.client.post(f"{path_of(thread_id)}/messages", json=said)
        assert answer.status_code == 202, answer.text
    assert not view.items


async def test_a_failure_is_told_with_our_sentence_and_can_be_retried(service: Service) -> None:
    view = await ask(service, create("status 400"))
    assert view.thread is not None
    thread_id = view.thread.id
    error: dict[str, Any] = (await turn_of(service, thread_id))["error"]
    assert [(e.message, e.allow_retry) for e in view.errors] == [
        (error["message"], error["retryable"])
    ]
    assert view.kinds[-1] == "error"
    await hear(service, retry(thread_id, next(iter(view.items))), view)
    assert len(view.errors) == 2
    await expect_history(service.client, thread_id, view)
    assert (await get(service.client, path_of(thread_id)))["message_count"] == 1
