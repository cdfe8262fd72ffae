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
import httpx
import psutil
import pytest

from api.app import create_app
from api.main import serving
from shared.events import StreamClosing
from shared.feed import MAX_BACKLOG, Feed
from shared.publisher import Changes
from shared.settings import Settings
from tests.api.talk import begin, get, messages_of, path_of, say
from tests.faults.rude import get_request, request
from tests.fixtures.following import answered, view
from tests.fixtures.people import Person
from tests.fixtures.processes import Process, StartOne, free_port
from tests.fixtures.service import Service, StartService
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import DEADLINE_SECONDS, until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
STALLED, MESSAGES, CHARS = 20, 3000, 10_000
"""Six hundred megabytes that nobody reads."""
SHORT_SECONDS = 1.0
SOON_SECONDS = 4.0
"""Less than what ends a connection between two requests."""


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
    heard = [await anext(stream)]
    async with feed.subscribe(conversation_id) as quick:
        told = 0
        while told <= MAX_BACKLOG:
            await feed.changes(conversation_id, [])
            told += sum(isinstance(item, Changes) for item in await quick.wait(5))
    heard += [event async for event in stream]
    assert [name for name, _ in heard] == [
        *("message.created", "turn.updated", "conversation.updated", "stream.closing")
    ]
    assert heard[-1][1] == StreamClosing("slow")


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


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_error_of_ours(
    api_process: StartOne, alice: Person
) -> None:
    api = await api_process()
    whole = request("POST", "/api/chat", alice.headers, b'{"message": "say never"}')
    async with asking(api, whole[:-5]):
        pass

    def told() -> list[int]:
        lines = [json.loads(line) for line in api.log.read_text().splitlines()]
        return [line["status"] for line in lines if line.get("route") == "/api/chat"]

    assert await until(told) == [400]
    assert "request_error" not in api.log.read_text()


@asynccontextmanager
async def impatient(settings: Settings) -> AsyncGenerator[Settings]:
    """An API that serves as ours does, but doesn't listen for so long."""
    settings = settings.model_copy(update={"parley_port": free_port()})
    server = serving(create_app(settings), settings, asking_seconds=SHORT_SECONDS)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield settings
    server.should_exit = True
    await running


class Line:
    """A connection, on which something has been sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, more: bytes) -> None:
        self._writer.write(more)

    async def hear(self, word: bytes) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._reader.readuntil(word)

    def cut(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    async def cut_soon(self) -> bool:
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(SOON_SECONDS):
                await self._reader.read()
        return self.cut()

    async def hang_up(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def lines_to(api: Settings, *sent: bytes) -> AsyncGenerator[list[Line]]:
    lines: list[Line] = []
    for asked in sent:
        line = Line(*await asyncio.open_connection(api.parley_host, api.parley_port))
        lines.append(line)
        line.send(asked)
    yield lines
    for line in lines:
        await line.hang_up()


async def test_who_does_not_end_what_they_ask_is_cut_off(settings: Settings, alice: Person) -> None:
    """Also who has had an answer, and who is never silent."""
    body = b'{"message": "say never"}'
    known, unknown = (request("POST", "/api/chat", h, body) for h in (alice.headers, {}))
    health = get_request("/health", {})
    sent = [b"", b"\r\n", known[:9], known[:-30], known[:-5], health + known[:-5], unknown[:-5]]
    sent += [health, unknown[:9]]
    async with impatient(settings) as api, lines_to(api, *sent) as lines:
        *silent, answered_early, answered, restless = lines
        await answered_early.hear(b"401")
        answered_early.send(body[-5:])
        await answered.hear(b'"ok"')
        answered.send(b"\r\n")

        async def dripping() -> bool:
            restless.send(b"x")
            return restless.cut()

        cut = [line.cut_soon() for line in (*silent, answered_early, answered)]
        drip = until(dripping, seconds=SOON_SECONDS)
        assert await asyncio.gather(*cut, drip) == [True] * len(lines)


async def test_a_whole_request_is_not_cut_off_however_long_its_answer_takes(
    settings: Settings, alice: Person
) -> None:
    """Whatever else is sent behind it."""
    async with impatient(settings) as api, httpx.AsyncClient(headers=alice.headers) as client:
        client.base_url = f"http://{api.parley_host}:{api.parley_port}"
        conversation = await begin(client)
        since = (await get(client, messages_of(conversation)))["next_since"]
        poll = f"{messages_of(conversation)}?since={since}&wait=30"
        stream = get_request(f"{path_of(conversation)}/events", alice.headers)
        behind = request("POST", "/api/chat", alice.headers, b'{"message": "say never"}')
        sent = [stream, stream + b"\r\n", stream + behind[:9], stream + behind[:-5]]
        health = get_request("/health", {})
        async with lines_to(api, *sent, get_request(poll, alice.headers), health) as all_lines:
            *lines, idle = all_lines
            for line in lines[:-1]:
                await line.hear(b": connected")
            await idle.hear(b'"ok"')
            for _ in range(2):
                async with lines_to(api, b"") as (late,):
                    assert await late.cut_soon()
            idle.send(health)
            await idle.hear(b'"ok"')
            await say(client, conversation, "still there?")
            for line in lines:
                await line.hear(b"still there?")
