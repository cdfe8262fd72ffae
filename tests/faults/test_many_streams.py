"""Two thousand people who follow and say nothing, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.faults.rude import expect_open_files, get_request
from tests.fixtures.fragile import Fragile
from tests.fixtures.service import Service

pytestmark = pytest.mark.anyio

STREAMS, CONVERSATIONS, AT_ONCE = 2000, 20, 50
HEALTH_SECONDS, SAY_SECONDS = 5.0, 2.0

Lines = dict[str, list[asyncio.StreamReader]]


@asynccontextmanager
async def streams(service: Service, conversations: list[str]) -> AsyncGenerator[Lines]:
    """As many of each conversation; the first bytes of every one have come."""
    found: Lines = {conversation_id: [] for conversation_id in conversations}
    writers: list[asyncio.StreamWriter] = []
    place = asyncio.Semaphore(AT_ONCE)
    settings = service.api.settings

    async def connect(conversation_id: str) -> None:
        path = f"/api/chat/conversations/{conversation_id}/events"
        async with place:
            reader, writer = await asyncio.open_connection(
                settings.parley_host, settings.parley_port
            )
            writers.append(writer)
            writer.write(get_request(path, service.person.headers))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            await reader.readuntil(b": connected\n")
        found[conversation_id].append(reader)

    each = STREAMS // len(conversations)
    await asyncio.gather(*(connect(name) for name in conversations for _ in range(each)))
    yield found
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def quick_health(service: Service) -> AsyncGenerator[None]:
    """Asked again and again, it answers quickly every time."""
    slowest = 0.0

    async def ask() -> None:
        nonlocal slowest
        while True:
            began = time.monotonic()
            assert (await service.client.get("/health")).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    yield
    assert not asking.done(), asking.result()
    asking.cancel()
    assert slowest < HEALTH_SECONDS


async def test_two_thousand_idle_streams_in_one_process_harm_nobody(fragile: Fragile) -> None:
    expect_open_files(STREAMS)
    service = fragile.service
    conversations = [await service.conversation() for _ in range(CONVERSATIONS)]
    async with quick_health(service), streams(service, conversations) as lines:
        first, second, *_ = conversations
        await service.say(first, "say hello")
        await heard(lines[first], b'"content":"hello"')
        # Now all of them look at the rows, and leave room for those who change something.
        fragile.redis.kill()
        for number in range(10):
            assert await fragile.seconds_to_say(second, f"say {number}") < SAY_SECONDS
        await heard(lines[second], b'"content":"9"')


async def heard(lines: list[asyncio.StreamReader], words: bytes) -> None:
    """Each of them is told the answer."""
    await asyncio.gather(*(line.readuntil(words) for line in lines))
