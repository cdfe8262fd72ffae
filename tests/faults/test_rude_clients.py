"""Clients that don't read, read slowly, or go away in the middle of anything."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress

import asyncpg
import psutil
import pytest

from shared.feed import MAX_BACKLOG, Feed
from shared.publisher import Changes
from tests.api.talk import messages_of, path_of
from tests.faults.rude import get_request, request
from tests.fixtures.following import answered, view
from tests.fixtures.processes import Process
from tests.fixtures.service import Service, StartService
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
STALLED, MESSAGES, CHARS = 20, 3000, 10_000
"""Six hundred megabytes that nobody reads."""


def stall(api: Process, asked: bytes) -> socket.socket:
    """Asks, and never reads."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect((api.settings.parley_host, api.settings.parley_port))
    line.sendall(asked)
    return line


@asynccontextmanager
async def asking(api: Process, asked: bytes) -> AsyncGenerator[None]:
    """Hangs up at the end, whether there was an answer or not."""
    _, writer = await asyncio.open_connection(api.settings.parley_host, api.settings.parley_port)
    writer.write(asked)
    await writer.drain()
    yield
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def write_messages(service: Service, conversation_id: str) -> None:
    connection = await asyncpg.connect(service.api.settings.database_url.get_secret_value())
    await connection.execute(
        "INSERT INTO messages"
        " (id, conversation_id, user_id, seq, changed_seq, role, content, status)"
        " SELECT gen_random_uuid(), c.id, c.user_id, n, n, 'user', repeat('x', $3), 'completed'"
        " FROM conversations c, generate_series(1, $2::int) n WHERE c.id = $1",
        *(conversation_id, MESSAGES, CHARS),
    )
    await connection.execute(
        "UPDATE conversations SET last_seq = $2 WHERE id = $1", conversation_id, MESSAGES
    )
    await connection.close()


async def test_who_reads_nothing_is_cut_off_and_nothing_is_kept_for_them(
    start_service: StartService,
) -> None:
    """What is not read is not kept: neither here nor by the kernel."""
    service = await start_service(workers=0, api={"parley_stream_send_timeout_seconds": 1})
    conversation_id = await service.conversation()
    await write_messages(service, conversation_id)
    api = psutil.Process(service.api.pid)
    asked = get_request(f"{path_of(conversation_id)}/events?since=0", service.person.headers)
    before = most = api.memory_info().rss

    def held() -> int:
        nonlocal most
        most = max(most, api.memory_info().rss)
        return sum(line.status == psutil.CONN_ESTABLISHED for line in api.net_connections("tcp"))

    others = held()
    with ExitStack() as open_lines:
        for _ in range(STALLED):
            open_lines.enter_context(stall(service.api, asked))
        await until(lambda: held() >= STALLED)
        await until(lambda: held() <= others, seconds=30)
    assert most - before < 100 * MB
    assert (await service.messages(conversation_id, limit=1))["messages"]


async def test_a_viewer_who_falls_far_behind_is_told_so(desk: Desk, feed: Feed) -> None:
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "hello")
    stream = view(desk, feed, conversation_id)
    heard = [await anext(stream), await anext(stream)]
    async with feed.subscribe(conversation_id) as quick:
        told = 0
        while told <= MAX_BACKLOG:
            await feed.changes(conversation_id, [])
            told += sum(isinstance(item, Changes) for item in await quick.wait(5))
    heard += [event async for event in stream]
    assert [event.event for event in heard[1:]] == [
        *("message.created", "turn.updated", "conversation.updated", "stream.closing")
    ]
    assert json.loads(str(heard[-1].data)) == {"reason": "slow"}


def posting(service: Service, conversation_id: str, content: str) -> bytes:
    """A message whose answer is waited for."""
    path = f"{messages_of(conversation_id)}?wait=30"
    body = json.dumps({"content": content}).encode()
    return request("POST", path, service.person.headers, body)


async def test_half_a_message_is_no_message(service: Service) -> None:
    conversation_id = await service.conversation()
    whole = posting(service, conversation_id, "say never")
    for cut in (-1, -10, -60):
        async with asking(service.api, whole[:cut]):
            pass
    answer = await service.say(conversation_id, "say hello", wait=20)
    assert answer["turn"]["status"] == "completed"
    history = await service.messages(conversation_id)
    assert [m["content"] for m in history["messages"]] == ["say hello", "hello"]


async def test_who_goes_away_before_the_answer_finds_it_later(service: Service) -> None:
    conversation_id = await service.conversation()
    asked = posting(service, conversation_id, "gated First then the rest")
    async with asking(service.api, asked):
        reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
        poll = f"{messages_of(conversation_id)}?since={reader.seq}&wait=30"
        async with asking(service.api, get_request(poll, service.person.headers)):
            pass
    service.stand_in.open_gate()
    await service.listen(conversation_id, reader, until=answered("First then the rest"))


async def test_a_crowd_that_hangs_up_at_once_leaves_whole_turns(service: Service) -> None:
    """Whether a message was taken is open; one that was has its turn, and its answer."""
    conversation_id = await service.conversation()

    async def say_and_leave(number: int) -> None:
        async with asking(service.api, posting(service, conversation_id, f"say {number}")):
            pass

    await asyncio.gather(*(say_and_leave(number) for number in range(20)))
    await service.say(conversation_id, "say last", wait=30)

    async def settled() -> list[str]:
        history = await service.messages(conversation_id)
        states = {turn["status"] for turn in history["turns"]}
        return [m["content"] for m in history["messages"]] if states == {"completed"} else []

    contents = await until(settled, seconds=30)
    asked = [text.removeprefix("say ") for text in contents if text.startswith("say ")]
    assert asked == [text for text in contents if not text.startswith("say ")]
