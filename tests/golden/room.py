"""One conversation while it is recorded: what is done in it, and what its stream tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from httpx import AsyncClient

from cli.verify.sse import Event, Parser
from cli.verify.stack import Stack
from shared.events import TERMINAL
from tests.fixtures.waiting import until

Json = dict[str, Any]
SECONDS = 30.0


class Room:
    def __init__(self, stack: Stack, client: AsyncClient, conversation_id: str) -> None:
        self.stack = stack
        self.events: list[Event] = []
        self.before: Json = {"messages": [], "turns": []}
        self.after: Json | None = None
        self._client = client
        self._path = f"/api/chat/conversations/{conversation_id}"
        self._reading: asyncio.Task[None] | None = None

    @property
    def turns(self) -> list[Json]:
        """As heard so far, in the order they were asked for."""
        heard = {e.data["turn"]["id"]: e.data["turn"] for e in self._named("turn.updated")}
        return [heard[key] for key in sorted(heard)]

    @property
    def messages(self) -> list[Json]:
        told = [*self._named("message.created"), *self._named("message.updated")]
        return [event.data["message"] for event in told]

    async def listen(self, since: int = 0) -> None:
        """Returns once the stream has begun; what happens from then on is told live."""
        begun = asyncio.Event()
        self._reading = asyncio.create_task(self._read(since, begun))
        async with asyncio.timeout(SECONDS):
            await begun.wait()

    async def begin_here(self) -> None:
        """The record begins now, as for a page that is opened in the middle."""
        await self.leave()
        page = await self._ask("GET", f"{self._path}/messages")
        self.before = {"messages": page["messages"], "turns": page["turns"]}
        self.events.clear()
        await self.listen(page["next_since"])

    async def say(self, content: str, on_busy: str = "enqueue") -> Json:
        body = {"content": content, "on_busy": on_busy}
        return await self._ask("POST", f"{self._path}/messages", body)

    async def cancel(self) -> None:
        await self._ask("POST", f"/api/chat/turns/{self.turns[-1]['id']}/cancel")

    async def retry(self) -> None:
        await self._ask("POST", f"/api/chat/turns/{self.turns[-1]['id']}/retry")

    async def decide(self, decision: str) -> None:
        waiting = next(m for m in self.messages if m["status"] == "awaiting_approval")
        body = {"tool_call_id": waiting["tool_call_id"], "decision": decision}
        await self._ask("POST", f"/api/chat/turns/{waiting['turn_id']}/approvals", body)

    async def rename(self, title: str) -> None:
        await self._ask("PUT", self._path, {"title": title})

    async def delete(self) -> None:
        """The last state that anybody could read is the one to end on."""
        self.after = await self.state()
        await self._ask("DELETE", self._path)
        await self.heard(lambda: bool(self._named("stream.closing")))

    async def heard(self, condition: Callable[[], bool]) -> None:
        await until(condition, seconds=SECONDS)

    async def text(self) -> None:
        """Some of an answer was told; a new attempt begins anew."""
        known = len(self._named("message.delta"))
        await self.heard(lambda: len(self._named("message.delta")) > known)

    async def in_state(self, *states: str) -> None:
        await self.heard(lambda: [turn["status"] for turn in self.turns] == list(states))

    async def ended(self, turns: int = 1) -> None:
        """So many turns have ended, and all that GET knows was told."""
        await self.heard(lambda: [t["status"] in TERMINAL for t in self.turns] == [True] * turns)
        known = (await self._ask("GET", f"{self._path}/messages"))["next_since"]
        await self.heard(lambda: self.events[-1].data["seq"] == known)

    async def state(self) -> Json:
        """The messages of the newest page; all turns, those whose messages were withdrawn too."""
        page = await self._ask("GET", f"{self._path}/messages")
        everything = await self._ask("GET", f"{self._path}/messages?since=0&limit=200")
        turns = sorted(everything["turns"], key=lambda turn: turn["id"])
        return {"messages": page["messages"], "turns": turns}

    async def record(self, name: str) -> Json:
        after = self.after or await self.state()
        await self.leave()
        events = [{"id": e.id, "event": e.name, "data": e.data} for e in self.events]
        return {"name": name, "before": self.before, "events": events, "after": after}

    async def leave(self) -> None:
        if self._reading:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def _named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    async def _read(self, since: int, begun: asyncio.Event) -> None:
        parser = Parser()
        address = f"{self._path}/events?since={since}"
        async with self._client.stream("GET", address, timeout=SECONDS) as response:
            response.raise_for_status()
            async for piece in response.aiter_raw():
                begun.set()
                self.events += parser.feed(piece)

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = await self._client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}


@asynccontextmanager
async def entered(stack: Stack, owner: str) -> AsyncGenerator[Room]:
    """A new conversation of somebody new, and its stream from the beginning."""
    headers = {"Authorization": f"Bearer {stack.token(owner)}"}
    async with AsyncClient(base_url=stack.urls()[0], headers=headers, trust_env=False) as client:
        answer = await client.post("/api/chat/conversations", json={})
        room = Room(stack, client, answer.json()["id"])
        await room.listen()
        try:
            yield room
        finally:
            await room.leave()
