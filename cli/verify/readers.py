"""Readers that follow a conversation as clients on bad networks do: they go away and come back.

Whatever connection they lose, and to whichever API they come back, their view must stay whole.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import httpx

from cli.verify.caller import CONNECT_SECONDS, Caller
from cli.verify.invariants import Invariant
from cli.verify.ledger import Chat
from cli.verify.script import Listener
from cli.verify.sse import FormError, Parser
from cli.verify.view import TERMINAL, View

SILENCE_SECONDS = (2.0, 9.0)
"""How long a stream may say nothing until its reader comes again: it can't know who is frozen."""
PAUSE_SECONDS = (0.0, 0.4)
LASTING_SILENCE_SECONDS = 20.0
"""… of a reader that wants to see the end: more than between two comments of a stream."""


class Reader(Protocol):
    view: View
    who: str

    async def run(self) -> None:
        """Until cancelled."""
        ...

    def stay(self) -> None:
        """It goes away no more of itself."""
        ...


def reader_of(listener: Listener, caller: Caller, chat: Chat) -> Reader:
    return (StreamReader if listener.kind == "stream" else PollReader)(listener, caller, chat)


def view_of(who: str, caller: Caller) -> View:
    def note(invariant: Invariant, detail: str) -> None:
        caller.ledger.note(invariant, f"{who}: {detail}")

    return View(note, caller.ledger.retried)


class StreamReader:
    """Follows the events, with Last-Event-ID."""

    def __init__(self, listener: Listener, caller: Caller, chat: Chat) -> None:
        self.who = f"a stream of {chat.conversation_id} ({listener.seed})"
        self.view = view_of(self.who, caller)
        self._listener = listener
        self._caller = caller
        self._counts = caller.ledger.counts
        self._chat = chat
        self._random = Random(listener.seed)  # noqa: S311
        self._drop = listener.drop
        self._silence = SILENCE_SECONDS

    def stay(self) -> None:
        self._drop = 0.0
        self._silence = (LASTING_SILENCE_SECONDS, LASTING_SILENCE_SECONDS)

    async def run(self) -> None:
        await asyncio.sleep(self._listener.late)
        self._counts["streams"] += 1
        while True:
            try:
                await self._connect()
            except httpx.HTTPError:
                self._counts["streams_broken"] += 1
            except FormError as error:
                self._caller.ledger.note(Invariant.stream_form, f"{self.who}: {error}")
            self._counts["reconnects"] += 1
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    async def _connect(self) -> None:
        """Reads until the connection ends, or the reader goes away."""
        path = f"/api/chat/conversations/{self._chat.conversation_id}/events"
        headers = self._caller.headers(self._chat.owner) | {"Last-Event-ID": self.view.last_id}
        silence = self._random.uniform(*self._silence)
        async with self._caller.http.stream(
            "GET",
            self._caller.url() + path,
            headers=headers,
            timeout=httpx.Timeout(silence, connect=CONNECT_SECONDS),
        ) as response:
            if response.status_code != 200:
                await self._refused(response)
                return
            await self._listen(response)

    async def _listen(self, response: httpx.Response) -> None:
        parser = Parser()
        async for piece in response.aiter_raw():
            leaving = self._random.random() < self._drop
            # Whoever goes away does so in the middle of anything, of an event too.
            heard = piece[: self._random.randint(0, len(piece))] if leaving else piece
            for event in parser.feed(heard):
                self._counts["deltas" if event.name == "message.delta" else "events"] += 1
                self.view.hear(event)
            if leaving:
                self._counts["streams_dropped"] += 1
                return

    async def _refused(self, response: httpx.Response) -> None:
        body = (await response.aread())[:200]
        if response.status_code != 503:
            told = f"{self.who}: {response.status_code} from {self.view.last_id}: {body!r}"
            self._caller.ledger.note(Invariant.answered, told)


class PollReader:
    """Asks what changed since, with pages of any size."""

    def __init__(self, listener: Listener, caller: Caller, chat: Chat) -> None:
        self.who = f"polling of {chat.conversation_id} ({listener.seed})"
        self.view = view_of(self.who, caller)
        self._looked = asyncio.Event()
        self._listener = listener
        self._caller = caller
        self._chat = chat

    async def run(self) -> None:
        await asyncio.sleep(self._listener.late)
        while True:
            if not await self._poll() and not self._listener.wait:
                await asyncio.sleep(0.3)

    def stay(self) -> None:
        """It asks for ever as it is."""

    async def look(self, seconds: float) -> None:
        """Until something has been read, for so long at most."""
        self._looked.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._looked.wait()

    async def _poll(self) -> bool:
        """Whether there was something."""
        since, limit, wait = self.view.seq, self._listener.limit, self._listener.wait
        params: dict[str, Any] = {"since": since, "limit": limit}
        if wait:
            params["wait"] = wait
        page = await read_page(self._caller, self._chat, params, wait=wait)
        self._caller.ledger.counts["polls"] += 1
        self.view.read(page, since=since, limit=limit)
        for turn in page["turns"]:
            if turn["status"] in TERMINAL:
                self._caller.ledger.ended.add(turn["id"])
        self._looked.set()
        return self.view.seq > since


async def read_page(
    caller: Caller, chat: Chat, params: dict[str, Any], *, wait: float = 0.0
) -> dict[str, Any]:
    path = f"/api/chat/conversations/{chat.conversation_id}/messages"
    return (await caller.ask(chat.owner, "GET", path, params=params, wait=wait)).body
