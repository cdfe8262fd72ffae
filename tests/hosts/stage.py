"""Where the scenarios play: hosts, the service on them, clients that talk, what is noted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from cli.verify import clients
from cli.verify.checks import check
from cli.verify.ledger import Ledger
from cli.verify.part import until
from cli.verify.script import Features, Listener, Say, Script, Step, Talk
from cli.verify.storm import LOUD
from cli.verify.takeover import read_log
from shared.connection import EVERYONE
from shared.store.audit import count_active
from shared.store.workers import count_alive
from tests.hosts.network import Network
from tests.hosts.roamer import Roamer
from tests.hosts.service import HostPart, Service

WELL_SECONDS = 30.0
READY_SECONDS = 5.0
TALK_SECONDS = 90.0
FAULTLESS = Features(faults=False)


@dataclass(frozen=True)
class Figure:
    scenario: str
    what: str
    value: str
    promised: str
    kept: bool


@dataclass(frozen=True)
class Talking:
    """Clients at work, and what came of it so far."""

    ledger: Ledger
    task: asyncio.Task[None]

    async def ended(self) -> None:
        """Raises TimeoutError if they don't come to their end."""
        async with asyncio.timeout(TALK_SECONDS):
            await asyncio.shield(self.task)


class Stage:
    def __init__(self, network: Network, service: Service, *, slack: float = 0.0) -> None:
        self.network = network
        self.service = service
        self.figures: list[Figure] = []
        self.violations: list[str] = []
        self.messages = 0
        self.checks = 0
        self.packets: dict[str, int] = {}
        self.scenario = ""
        self._slack = slack
        self._owners: set[str] = set()
        self.http = httpx.AsyncClient(
            trust_env=False, timeout=10, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._rows = service.database()
        self._numbers = count(1)

    async def close(self) -> None:
        await self.http.aclose()
        await self._rows.close()

    def note(self, what: str, value: object, promised: str = "", *, kept: bool = True) -> None:
        self.figures.append(Figure(self.scenario, what, str(value), promised, kept))
        if not kept:
            self.violations.append(f"{self.scenario}: {what} is {value}, promised is {promised}")

    def took(self, what: str, seconds: float, most: float) -> None:
        self.note(
            what, f"{seconds:.2f} s", f"at most {most:g} s", kept=seconds <= most + self._slack
        )

    def expect(self, sentence: str, true: bool) -> None:
        self.checks += 1
        if not true:
            self.violations.append(f"{self.scenario}: {sentence}: no")

    async def until(
        self, sentence: str, true: Callable[[], bool | Awaitable[bool]], seconds: float
    ) -> float:
        """How long it took. A violation if it took longer than `seconds`."""
        began = time.monotonic()
        self.expect(f"{sentence} within {seconds:g} s", await until(true, seconds=seconds))
        return time.monotonic() - began

    # What is said.

    def talks(self, texts: list[list[str]], *, drop: float = 0.0) -> Script:
        """Each list is said at once in a conversation of its own, with a viewer, who goes away and
        comes back as often as `drop` says, and one who polls.
        """
        number = next(self._numbers)
        listeners = (
            Listener("stream", seed=number, late=0, drop=drop, limit=20, wait=10),
            Listener("poll", seed=number, late=0, drop=0, limit=5, wait=2),
        )
        talks = [
            Talk(f"{number}-{place}", f"hosts-{number}", False, (Step(says),), listeners)
            for place, said in enumerate(texts)
            if (says := tuple(Say(text) for text in said))
        ]
        return Script(number, FAULTLESS, tuple(talks))

    def gated(self, how_many: int) -> Script:
        """Turns that make a task, begin to answer and wait for the gate to go on."""
        names = [f"{self.scenario} {number}" for number in range(1, how_many + 1)]
        return self.talks(
            [[f"{task(name)}\nthen gated {name} begins, and ends."] for name in names]
        )

    def slow(self, how_many: int) -> Script:
        """Answers that take longer than a takeover: twelve seconds."""
        names = [f"{self.scenario}-{number}" for number in range(1, how_many + 1)]
        return self.talks([[f"slow 500 {name} {'goes on ' * 11}to the end."] for name in names])

    def pairs(self, how_many: int) -> Script:
        """Two turns in each conversation: one that makes a task, and one that takes its time."""
        names = [f"{self.scenario} {next(self._numbers)}" for _ in range(how_many)]
        texts = [
            [
                f"{task(name)}\nthen say {name} is done.",
                f"slow 50 {name} {'goes on ' * 12}to its end.",
            ]
            for name in names
        ]
        return self.talks(texts, drop=0.05)

    def chatter(self, turns: int) -> Script:
        """Everything that a storm's clients do, but for a model that fails."""
        return Script.of(7000 + next(self._numbers), turns, FAULTLESS)

    @asynccontextmanager
    async def talking(self, script: Script) -> AsyncGenerator[Talking]:
        """Within the block the clients talk. Then all is healed, they come to their end, and the
        rows, their records and the model's are judged.
        """
        await self.http.post(f"{self.service.model_url}/reset")
        ledger = Ledger()
        task = asyncio.create_task(clients.run(script, self.service, ledger))
        talking = Talking(ledger, task)
        try:
            yield talking
            await self.heal()
            await self.open_gate()
            await talking.ended()
        finally:
            task.cancel()
            await asyncio.wait({task})
        await self._judge(ledger)

    @asynccontextmanager
    async def guest(self, home: str, *urls: str, silence: float) -> AsyncGenerator[Roamer]:
        """One conversation, closely watched."""
        owner = f"guest-{next(self._numbers)}"
        self._owners.add(owner)
        token = self.service.token(owner)
        roamer = Roamer(home, urls, owner, token, silence=silence)
        await self.http.post(f"{self.service.model_url}/reset")
        async with roamer:
            yield roamer
            await self.until("the guest saw everything", roamer.saw_everything, 15)
            for problem in await roamer.compare():
                self.violations.append(f"{self.scenario}: the guest: {problem}")
        self.messages += 1

    async def open_gate(self) -> None:
        await self.http.post(f"{self.service.model_url}/gate/open")

    async def answering(self, *, at_least: int = 0, at_most: int = 1000) -> bool:
        """Whether the model is in the middle of so many answers."""
        return at_least <= (await self._report())["answering"] <= at_most

    # What is the case.

    def holders(self, turns: set[str]) -> dict[HostPart, set[str]]:
        """Who has claimed which of these turns, by the logs."""
        return {
            worker: {str(line.fields["turn_id"]) for line in worker.said("turn_claimed")} & turns
            for worker in self.service.own_workers
        }

    async def ready(self, url: str) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.http.get(f"{url}/health/ready", timeout=3)).is_success
        return False

    async def heal(self) -> None:
        """Everything; and how long it takes until all of it serves again."""
        if not self.network.ill:
            return
        self.network.heal()
        seconds = await self.until("all are well again", self.is_well, WELL_SECONDS)
        self.took("all ready after the healing", seconds, READY_SECONDS)

    async def is_well(self) -> bool:
        async with self._rows.snapshot(EVERYONE) as tx:
            if await count_alive(tx) != len(self.service.workers):
                return False
        answers = [await self.ready(url) for url in self.service.urls()]
        return all(answers)

    async def at_rest(self) -> bool:
        """No turn of anybody waits or runs, and so none is held."""
        async with self._rows.snapshot(EVERYONE) as tx:
            return not await count_active(tx, self._owners)

    def read_logs(self) -> None:
        """Nothing in them may be broken, whatever happened."""
        for part in (*self.service.apis, *self.service.workers):
            lines, strange = read_log(part.life.log.read_text(errors="replace"))
            loud = [str(line) for line in lines if line.fields.get("level") in LOUD]
            self.expect(
                f"the log of {part.name} is clean: {[*strange, *loud][:5]}", not strange + loud
            )

    async def _judge(self, ledger: Ledger) -> None:
        self._owners |= ledger.owners
        verdict = await check(ledger, self._rows, await self._report())
        self.messages += len(ledger.sent)
        self.checks += sum(verdict.checked.values())
        for violation in verdict.violations:
            self.violations.append(f"{self.scenario}: {violation.sentence} {violation.detail}")

    async def _report(self) -> dict[str, Any]:
        return (await self.http.get(f"{self.service.model_url}/verdict")).json()


def task(title: str) -> str:
    return f'call create_task {{"title": "{title}"}}'
