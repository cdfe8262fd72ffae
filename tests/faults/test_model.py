"""Models and tools that overdo it. What `tests/worker/test_turn.py` has is not repeated here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest

from shared.connection import EVERYONE
from shared.db import Transaction
from shared.store.tasks import create_task, list_tasks
from shared.tasks import CreateTask
from shared.tool import Tool
from tests.fixtures.turns import Desk
from worker.tools.tool import STOOD_STILL_SECONDS

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def model_that(write: Write) -> AsyncGenerator[str]:
    """A model server that answers every request with what `write` writes; its base URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            await write(writer)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"http://{host}:{port}/v1"
    server.close()
    await server.wait_closed()


def delta(**change: Any) -> bytes:
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "rude",
        "choices": [{"index": 0, "delta": change, "finish_reason": None}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def test_an_answer_in_one_line_of_twenty_megabytes_ends_its_turn_only(desk: Desk) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(delta(content="x" * 20 * MB))
        await writer.drain()

    async with model_that(write) as url:
        turn, history = await desk.ask("hello", openai_base_url=url)
    assert turn.status == "failed"
    assert turn.error is not None
    assert turn.error.code == "answer_too_long"
    assert len(history[-1].content) == desk.settings.parley_max_answer_chars
    again = await desk.say(turn.conversation_id, "say fine")
    assert await (await desk.worker()).run_head(turn.conversation_id)
    assert (await desk.turn(again.id)).status == "completed"


async def explode(tx: Transaction, owner: str, arguments: CreateTask) -> None:
    await create_task(tx, owner=owner, title=arguments.title)
    raise ZeroDivisionError


async def gush(tx: Transaction, owner: str, arguments: CreateTask) -> list[str]:
    await create_task(tx, owner=owner, title=arguments.title)
    return ["x" * MB] * 5


@pytest.mark.parametrize(("run", "code"), [(explode, "tool_failed"), (gush, "result_too_large")])
async def test_a_tool_that_misbehaves_has_a_result_that_says_so_and_no_effect(
    desk: Desk, run: Callable[..., Awaitable[Any]], code: str
) -> None:
    rude = Tool("rude", "Misbehaves.", CreateTask, run)
    conversation_id = await desk.conversation()
    asked = await desk.say(conversation_id, 'call rude {"title": "x"}')
    worker = await desk.worker(tools=[rude])
    assert await worker.run_head(conversation_id)
    assert (await desk.turn(asked.id)).status == "completed"
    calls = [call for m in await desk.history(conversation_id) for call in m.tool_calls or ()]
    assert [(call.status, call.result["error"]["code"]) for call in calls] == [("failed", code)]
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await list_tasks(tx, owner=desk.owner, limit=9) == []
    again = await desk.say(conversation_id, "say fine")
    assert await worker.run_head(conversation_id)
    assert (await desk.turn(again.id)).status == "completed"


async def test_a_call_whose_worker_stood_still_is_made_again(desk: Desk) -> None:
    """Its time limit ran out while nothing ran: that is no fault of the tool's."""
    calls = count()

    async def make(tx: Transaction, owner: str, wanted: CreateTask) -> dict[str, str]:
        await create_task(tx, owner=owner, title=wanted.title)
        if not next(calls):
            time.sleep(STOOD_STILL_SECONDS + 0.2)  # noqa: ASYNC251
            await asyncio.Event().wait()
        return {"made": wanted.title}

    tool = Tool("make", "Makes a task.", CreateTask, make)
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call make {"title": "x"}\nthen say done')
    worker = await desk.worker(tools=[tool], parley_tool_timeout_seconds=0.1)
    await worker.run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    results = [m.content for m in await desk.history(conversation_id) if m.role == "tool"]
    assert results == ['{"made":"x"}']
    async with desk.db.snapshot(EVERYONE) as tx:
        assert len(await list_tasks(tx, owner=desk.owner, limit=9)) == 1
