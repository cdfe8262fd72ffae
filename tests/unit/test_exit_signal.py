"""How all streams of a process learn that its server stops."""

from __future__ import annotations

import asyncio

import pytest
from sse_starlette.sse import AppStatus

from api.shutdown import EventStreamResponse
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


def streams(number: int) -> list[asyncio.Task[None]]:
    listen = EventStreamResponse._listen_for_exit_signal  # pyright: ignore[reportPrivateUsage]
    return [asyncio.create_task(listen()) for _ in range(number)]


async def test_all_are_told_and_those_of_a_later_server_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves, *stay = streams(3)
    await asyncio.sleep(0)
    leaves.cancel()
    with monkeypatch.context() as stopped:
        stopped.setattr(AppStatus, "should_exit", True)
        await until(lambda: all(one.done() for one in stay))
    await asyncio.gather(*stay)
    assert leaves.cancelled()
    later = streams(2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(one.done() for one in later)
    for one in later:
        one.cancel()
