"""The storm: clients talk while processes are killed, frozen and drained; then the rows are judged.

Read `Storm.run` first: it is the whole story.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from cli.verify import clients
from cli.verify.chaos import Chaos
from cli.verify.checks import check
from cli.verify.conduct import Complaints, Conduct
from cli.verify.invariants import Violation
from cli.verify.ledger import Ledger
from cli.verify.part import until
from cli.verify.schedule import Fault, Schedule
from cli.verify.script import Script
from cli.verify.stack import Stack
from cli.verify.takeover import Limits, Resumed, Takeover, Work, read_log, resumed, takeovers
from shared.connection import EVERYONE
from shared.db import Database
from shared.settings import Settings
from shared.store.audit import count_active, turns_of

REST_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
PATIENCE_PER_TURN = 2.0
LOUD = frozenset({"error", "critical"})

LIMITS = Limits(
    lease=Settings.model_fields["parley_lease_seconds"].default,
    sweep=Settings.model_fields["parley_sweep_seconds"].default,
)


@dataclass(frozen=True)
class Options:
    seed: int
    turns: int
    seconds: float | None
    """Scripts of so many turns are repeated until this time is over; None: just one."""
    workers: int
    apis: int

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.seed, workers=self.workers, apis=self.apis, lease=LIMITS.lease)

    def scripts(self) -> Iterator[Script]:
        dice = random.Random(f"scripts {self.seed}")  # noqa: S311
        seed = self.seed
        while True:
            yield Script.of(seed, self.turns)
            seed = dice.getrandbits(31)


@dataclass
class StormResult:
    options: Options
    script_hash: str
    schedule_hash: str
    scripts: int = 0
    seconds: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter[Fault])
    turns: Counter[str] = field(default_factory=Counter[str])
    """By their end; a failed one by its code."""
    attempts: Counter[int] = field(default_factory=Counter[int])
    """How many turns needed how many."""
    clients: Counter[str] = field(default_factory=Counter[str])
    model_faults: Counter[str] = field(default_factory=Counter[str])
    logged: Counter[str] = field(default_factory=Counter[str])
    """Events of the workers' logs."""
    takeovers: list[Takeover] = field(default_factory=list[Takeover])
    resumed: Resumed = field(default_factory=Resumed)
    violations: list[Violation] = field(default_factory=list[Violation])
    checked: Counter[str] = field(default_factory=Counter[str])


class Storm:
    def __init__(self, stack: Stack, options: Options) -> None:
        self._stack = stack
        self._options = options
        self._complaints: Complaints = stack.complaints
        self._schedule = options.schedule
        self._chaos = Chaos(stack, self._schedule)
        self._ledgers: list[Ledger] = []
        self._began = time.monotonic()
        self._doing = "starting"

    async def run(self) -> StormResult:
        """On a stack that isn't started yet; it is stopped at the end."""
        first = next(self._options.scripts())
        result = StormResult(self._options, first.hash, self._schedule.hash)
        await self._stack.start()
        await self._blow(result)
        await self._come_to_rest()
        await self._judge(result)
        self._doing = "stopping"
        await self._stack.stop()
        self._read_logs(result)
        result.violations += self._complaints.violations
        result.checked.update(self._complaints.checked)
        return result

    def status(self) -> str:
        """Where it stands, in one line."""
        done = sum(ledger.progress()[0] for ledger in self._ledgers)
        total = sum(ledger.progress()[1] for ledger in self._ledgers)
        bad = sum(len(each.violations) for each in (self._complaints, *self._ledgers))
        last = self._chaos.last
        parts = [
            f"{time.monotonic() - self._began:4.0f} s",
            self._doing,
            f"{done} of {total} messages dealt with",
            f"{self._chaos.counts.total()} faults" + (f", last {last.fault}" if last else ""),
            f"{bad} violations",
        ]
        return " · ".join(parts)

    async def _blow(self, result: StormResult) -> None:
        self._doing = "storm"
        began = time.monotonic()
        chaos = asyncio.create_task(self._chaos.run())
        talking = asyncio.create_task(self._talk(result))
        try:
            await asyncio.wait({chaos, talking}, return_when=asyncio.FIRST_COMPLETED)
            if chaos.done():
                chaos.result()
            await talking
        finally:
            for task in (chaos, talking):
                task.cancel()
            await asyncio.wait({chaos, talking})
        result.seconds = time.monotonic() - began
        self._doing = "healing"
        await self._chaos.settle()
        await self._stack.heal()
        result.faults = self._chaos.counts

    async def _talk(self, result: StormResult) -> None:
        seconds = self._options.seconds or 0.0
        began = time.monotonic()
        for script in self._options.scripts():
            ledger = Ledger()
            self._ledgers.append(ledger)
            result.scripts += 1
            patience = PATIENCE_SECONDS + PATIENCE_PER_TURN * script.turns
            in_time = True
            try:
                async with asyncio.timeout(patience):
                    await clients.run(script, self._stack, ledger)
            except TimeoutError:
                in_time = False
            if not self._complaints.check(Conduct.clients_end, in_time):
                told = f"{ledger.progress()} messages dealt with after {patience:.0f} s"
                self._complaints.add(Conduct.clients_end, told)
            if not in_time or time.monotonic() - began >= seconds:
                return

    async def _come_to_rest(self) -> None:
        self._doing = "coming to rest"
        database = self._stack.database()

        async def at_rest() -> bool:
            async with database.snapshot(EVERYONE) as tx:
                return not await count_active(tx, self._owners)

        in_time = await until(at_rest, seconds=REST_SECONDS)
        if not self._complaints.check(Conduct.comes_to_rest, in_time):
            told = f"turns still wait or run {REST_SECONDS:.0f} s after everything was well"
            self._complaints.add(Conduct.comes_to_rest, told)
        await database.close()

    @property
    def _owners(self) -> set[str]:
        return {owner for ledger in self._ledgers for owner in ledger.owners}

    async def _judge(self, result: StormResult) -> None:
        self._doing = "checking"
        report = await self._model_report()
        result.model_faults.update(report.get("faults", {}))
        database = self._stack.database()
        for ledger in self._ledgers:
            verdict = await check(ledger, database, report)
            report["invalid"] = []  # told once
            result.violations += verdict.violations
            result.checked.update(verdict.checked)
            result.clients.update(ledger.counts)
        await self._count_turns(database, result)
        await database.close()

    async def _count_turns(self, database: Database, result: StormResult) -> None:
        async with database.snapshot(EVERYONE) as tx:
            turns = await turns_of(tx, self._owners)
        for turn in turns:
            code = f" ({turn.error['code']})" if turn.error else ""
            result.turns[turn.status + code] += 1
            result.attempts[turn.attempt] += 1

    async def _model_report(self) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self._stack.model_url}/verdict")).json()

    def _read_logs(self, result: StormResult) -> None:
        works: list[Work] = []
        for part in (*self._stack.workers, *self._stack.apis):
            for life in part.lives:
                lines, strange = read_log(life.log.read_text(errors="replace"))
                loud = [str(line) for line in lines if line.fields.get("level") in LOUD]
                if not self._complaints.check(Conduct.logs, not strange and not loud):
                    said = "\n".join([*strange, *loud][:10])
                    self._complaints.add(Conduct.logs, f"{life.log.name}:\n{said}")
                if part in self._stack.workers:
                    works.append(Work.of(life, lines))
                    result.logged.update(line.event for line in lines)
        result.takeovers = list(takeovers(works, self._chaos.outages, LIMITS))
        result.resumed = resumed(works)
