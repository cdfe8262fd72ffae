"""People who talk to the service all the time, whatever happens to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx

from cli.verify.stack import Stack

TALKS = 8
PAUSE_SECONDS = 0.3
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.3
SLOW = "call list_tasks {}\nthen slow 100 " + "word " * 20
"""A tool, and an answer of two seconds: a worker always has some in hand."""
ENDED = {"completed", "failed", "cancelled"}
BEGIN = "/api/chat/conversations"


class Traffic:
    """`async with`: they talk until the end of the block."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.says = SLOW
        """What they say next: an instruction for the stand-in model."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Traffic:
        self._tasks = [asyncio.create_task(self._talk(number)) for number in range(TALKS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self, number: int) -> None:
        urls = self._stack.urls()
        headers = {"Authorization": f"Bearer {self._stack.token(f'owner-{number}')}"}
        async with httpx.AsyncClient(
            base_url=urls[number % len(urls)], headers=headers, timeout=5, trust_env=False
        ) as client:
            conversation = await self._begin(client)
            watching = asyncio.create_task(_watch(client, conversation))
            try:
                while True:
                    with suppress(httpx.HTTPError):
                        await self._say(client, conversation)
                    await asyncio.sleep(PAUSE_SECONDS)
            finally:
                watching.cancel()

    async def _begin(self, client: httpx.AsyncClient) -> str:
        while True:
            with suppress(httpx.HTTPError):
                answer = await client.post(BEGIN, json={})
                if answer.is_success:
                    return str(answer.json()["id"])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _say(self, client: httpx.AsyncClient, conversation: str) -> None:
        """And waits for the answer, not for ever."""
        answer = await client.post(f"{BEGIN}/{conversation}/messages", json={"content": self.says})
        if not answer.is_success:
            return
        turn = answer.json()["turn"]["id"]
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await _look(client, turn)).get("status") not in ENDED:
                    await asyncio.sleep(LOOK_SECONDS)


async def _look(client: httpx.AsyncClient, turn: str) -> dict[str, Any]:
    answer = await client.get(f"/api/chat/turns/{turn}")
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return found


async def _watch(client: httpx.AsyncClient, conversation: str) -> None:
    """An event stream, opened anew whenever it ends."""
    path = f"{BEGIN}/{conversation}/events"
    while True:
        with suppress(httpx.HTTPError):
            async with client.stream("GET", path, timeout=httpx.Timeout(5, read=60)) as stream:
                async for _ in stream.aiter_raw():
                    pass
        await asyncio.sleep(PAUSE_SECONDS)
