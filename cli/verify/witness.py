"""One owner with one conversation: says a message, follows it, and looks at what came of it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import httpx

from cli.verify.cells import SAID, Cell
from cli.verify.sse import FormError, Parser
from cli.verify.view import TERMINAL, History, Row, View

CHATS = "/api/chat/conversations"
STEPS_OF_A_TURN = ["user", "assistant", "tool", "assistant"]


class Witness:
    """Within the context the stream is open."""

    def __init__(self, url: str, owner: str, token: str) -> None:
        self.owner = owner
        self.problems: list[str] = []
        """What the viewer saw that must not be."""
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(10, read=None),
            trust_env=False,
        )
        self._view = View(lambda _, detail: self.problems.append(detail))
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Witness:
        self._chat = (await self._ask("POST", CHATS, {}))["id"]
        opened = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(opened))
        await opened.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._watching:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._http.aclose()

    async def say(self, text: str) -> None:
        sent = await self._ask("POST", f"{CHATS}/{self._chat}/messages", {"content": text})
        self._turn = sent["turn"]["id"]

    def saw_attempt(self, attempt: int) -> bool:
        turn = self._view.turns.get(self._turn)
        return turn is not None and turn["attempt"] >= attempt

    def saw_the_end(self) -> bool:
        turn = self._view.turns.get(self._turn)
        return turn is not None and turn["status"] in TERMINAL

    @property
    def sees_text(self) -> bool:
        """An answer is being streamed."""
        return bool(self._view.texts)

    async def turn_ended(self) -> bool:
        return (await self._find_turn())["status"] in TERMINAL

    async def saw_everything(self) -> bool:
        chat = await self._ask("GET", f"{CHATS}/{self._chat}")
        return self._view.seq >= chat["seq"]

    async def judge(self, cell: Cell) -> list[str]:
        """The turn asked for one task and one answer: exactly that must be there."""
        turn, messages = await self._find_turn(), await self._messages()
        tasks = (await self._ask("GET", "/api/tasks"))["tasks"]
        facts = {
            "status": (turn["status"], "completed"),
            "attempt": (turn["attempt"], cell.attempt),
            "tasks": ([task["title"] for task in tasks], [cell.name]),
            "roles": ([message["role"] for message in messages], STEPS_OF_A_TURN),
            "answer": (messages[-1]["content"], SAID),
            "states": ({message["status"] for message in messages}, {"completed"}),
        }
        return [
            f"{name}: {found}, not {due}" for name, (found, due) in facts.items() if found != due
        ]

    async def compare(self) -> list[str]:
        """What the viewer put together must be what GET shows."""
        page = await self._ask("GET", f"{CHATS}/{self._chat}/messages?limit=100")
        shown = History(by_id(page["messages"]), by_id(page["turns"]), page["total_count"])
        self._view.close()
        return [*self.problems, *self._view.differences(shown)]

    async def _find_turn(self) -> Row:
        return await self._ask("GET", f"/api/chat/turns/{self._turn}")

    async def _messages(self) -> list[dict[str, Any]]:
        found = await self._ask("GET", f"{CHATS}/{self._chat}/messages?limit=100")
        return found["messages"]

    async def _ask(self, method: str, path: str, body: Any = None) -> Row:
        answer = await self._http.request(method, path, json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    async def _watch(self, opened: asyncio.Event) -> None:
        """Until cancelled: nobody disturbs the API here, so the stream has no reason to end."""
        parser = Parser()
        try:
            async with self._http.stream("GET", f"{CHATS}/{self._chat}/events?since=0") as stream:
                opened.set()
                async for piece in stream.aiter_raw():
                    for event in parser.feed(piece):
                        self._view.hear(event)
            self.problems.append("the stream ended")
        except (httpx.HTTPError, FormError) as error:
            self.problems.append(f"the stream broke: {error!r}")
        finally:
            opened.set()


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in rows}
