"""A viewer that goes to the next API where one says nothing for a while, and notes when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import httpx

from cli.verify.sse import Event, FormError, Parser
from cli.verify.witness import CHATS, Witness

CONNECT_SECONDS = 1.0


@dataclass
class Visit:
    """One connection to one API. Times are of `time.monotonic`."""

    url: str
    began: float
    heard: list[tuple[float, Event]]

    @property
    def first(self) -> float | None:
        return self.heard[0][0] if self.heard else None


class Roamer(Witness):
    """Asks `home` and follows at `urls`, one after the other, each time it hears nothing."""

    def __init__(
        self, home: str, urls: Sequence[str], owner: str, token: str, *, silence: float
    ) -> None:
        super().__init__(home, owner, token)
        self.visits: list[Visit] = []
        self._urls = urls
        self._silence = silence

    @property
    def text(self) -> str:
        """What is streamed just now, as far as it has come."""
        return "".join(self._view.texts.values())

    @property
    def turn(self) -> str:
        return self._turn

    async def _watch(self, opened: asyncio.Event) -> None:
        """Until cancelled."""
        for url in cycle(self._urls):
            try:
                await self._visit(url, opened)
            except httpx.HTTPError:
                continue
            except FormError as error:
                self.problems.append(f"a stream of {url}: {error}")

    async def _visit(self, url: str, opened: asyncio.Event) -> None:
        visit = Visit(url, time.monotonic(), [])
        self.visits.append(visit)
        parser = Parser()
        async with self._http.stream(
            "GET",
            f"{url}{CHATS}/{self._chat}/events",
            headers={"Last-Event-ID": self._view.last_id},
            timeout=httpx.Timeout(self._silence, connect=CONNECT_SECONDS),
        ) as stream:
            stream.raise_for_status()
            opened.set()
            async for piece in stream.aiter_raw():
                for event in parser.feed(piece):
                    visit.heard.append((time.monotonic(), event))
                    self._view.hear(event)
