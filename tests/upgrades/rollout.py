"""A new release comes in beneath and beside the old one, and goes again, while clients talk.

Read `Steps.run` first: it is the whole story. What clients say, and the verdict, are those of
`parley verify`; here no process is killed, and no turn may fail.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from cli.errors import CliError
from cli.verify import clients
from cli.verify.chaos import Outage
from cli.verify.conduct import Conduct
from cli.verify.invariants import Violation
from cli.verify.ledger import Ledger
from cli.verify.part import Part
from cli.verify.schedule import Fault, Planned
from cli.verify.script import Features, Script
from cli.verify.storm import LOUD, Options, Storm, StormResult
from cli.verify.takeover import Line, Loss, read_log
from tests.upgrades.stage import Side, Stage

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.2
OF_AN_END = (Conduct.ends.name, Conduct.logs.name)
ENDS = ("completed", "cancelled", "failed (model_refused)")
"""That a model refuses is its own word, which a client gets whoever runs the turn."""
SLACK_SECONDS = 1.0
"""An answer may have been under way."""


class Careful(Options):
    """The model does what it should: a turn that fails was failed by us."""

    def scripts(self) -> Iterator[Script]:
        number = self.seed * 1000
        while True:
            number += 1
            yield Script.of(number, self.turns, Features(faults=False))


@dataclass
class Figures:
    migrations: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Revisions, with the milliseconds for which each had its locks."""
    migrated_at: float = 0.0
    requests: Counter[str] = field(default_factory=Counter[str])
    """By side and status; `late` is a refusal of the new release when its schema was there."""
    handed_back: int = 0
    slowest_handover: float = 0.0
    slowest_accept: float = 0.0
    """In seconds, until a client had its 2xx for a message, with all its tries."""
    steps: list[str] = field(default_factory=list[str])


class Steps:
    """Stands where the chaos of a storm stands."""

    def __init__(self, stage: Stage, ended: Callable[[], int], *, turns: int, back: bool) -> None:
        self.over = False
        self.counts: Counter[Fault] = Counter()
        self.outages: list[Outage] = []
        self.last: Planned | None = None
        self.figures = Figures()
        self._stage = stage
        self._ended = ended
        self._turns = turns
        self._back = back

    async def run(self) -> None:
        """Raises CliError where a step comes to nothing."""
        old, new = self._stage.old, self._stage.new
        try:
            await self._work("the old release on its schema", old)
            await self._stage.join(new)
            await self._idle("the new release beside it, before the migration", new)
            self.figures.migrations = await self._stage.migrate(new)
            self.figures.migrated_at = time.time()
            await self._work("migrated beneath both", old, new)
            await self._stage.leave(old)
            await self._work("the old release stopped", new)
            if self._back:
                await self._stage.join(old)
                await self._work("the old release back, on the new schema", old, new)
                await self._stage.leave(new)
                await self._work("the new release stopped: rolled back", old)
                await self._stage.join(new)
                await self._work("the new release beside the old one again", old, new)
                await self._stage.leave(old)
                await self._work("the old release stopped again", new)
        finally:
            self.over = True

    async def settle(self) -> None:
        """Nothing is left to do."""

    async def _work(self, step: str, *sides: Side) -> None:
        """Until each API and each worker of these has done something, and turns have ended."""
        enough = self._ended() + self._turns
        marks = {part: self._done(part) for side in sides for part in side.parts}

        def worked() -> bool:
            everybody = all(self._done(part) > before for part, before in marks.items())
            return everybody and self._ended() >= enough

        await self._until(step, worked)
        self.figures.steps.append(step)

    async def _idle(self, step: str, side: Side) -> None:
        """Its APIs are asked and refuse, its workers wait."""

        def waits(part: Part) -> bool:
            return any(line.event == "waiting_for_migrations" for line in lines(part))

        def refused(part: Part) -> bool:
            return 503 in statuses(part)

        await self._until(step, lambda: all(waits(worker) for worker in side.workers))
        await self._until(step, lambda: all(refused(api) for api, _ in side.apis))
        if any(self._done(part) for part in side.parts):
            raise CliError(f"{step}: it did something on the old schema")
        self.figures.steps.append(step)

    async def _until(self, step: str, done: Callable[[], bool]) -> None:
        """Logs are read from their beginning each time: not too often."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise CliError(f"{step}: this did not come true in {PATIENCE_SECONDS:g} s")
            await asyncio.sleep(LOOK_SECONDS)

    def _done(self, part: Part) -> int:
        """Claims of a worker, or successful answers of an API."""
        claimed = sum(line.event == "turn_claimed" for line in lines(part))
        return claimed + sum(200 <= status < 300 for status in statuses(part))


class Rollout(Storm):
    def __init__(self, stage: Stage, options: Options, *, turns: int, back: bool) -> None:
        """`turns` is how many end at each step."""
        super().__init__(stage, options)
        self._stage = stage
        self.steps = Steps(stage, self._progress, turns=turns, back=back)
        self._chaos = self.steps  # pyright: ignore[reportAttributeAccessIssue]

    async def run(self) -> StormResult:
        try:
            result = await super().run()
        finally:
            await self._stage.abandon()
        self._count(result)
        return result

    async def _talk(self, result: StormResult) -> None:
        """Script after script, until the last step is done."""
        for script in self._options.scripts():
            self._ledgers.append(Ledger())
            result.scripts += 1
            await clients.run(script, self._stage, self._ledgers[-1])
            if self.steps.over:
                return

    def is_of_old_end(self, violation: Violation) -> bool:
        """How a process of the old release ends, once it was asked to, can't be changed any more:
        it is told, and counts only where a turn or a client has something of it.
        """
        lives = {life.child.name: life for part in self._stage.old.parts for life in part.lives}
        life = lives.get(re.split(r"\.log:|\s", violation.detail)[0])
        if life is None or life.asked is None or violation.invariant not in OF_AN_END:
            return False
        logged = [msgspec.json.decode(raw) for raw in life.log.read_text().splitlines() if raw]
        loud = [line["timestamp"] for line in logged if line["level"] in LOUD]
        return all(datetime.fromisoformat(at).timestamp() >= life.asked for at in loud)

    def _progress(self) -> int:
        return sum(ledger.progress()[0] for ledger in self._ledgers)

    def _count(self, result: StormResult) -> None:
        figures = self.steps.figures
        for side in (self._stage.old, self._stage.new):
            for api, _ in side.apis:
                figures.requests.update(f"{side.name} {status}" for status in statuses(api))
            late = figures.migrated_at + SLACK_SECONDS
            refused = sum(503 in statuses(api, after=late) for api, _ in side.apis)
            figures.requests[f"{side.name} 503 late"] += refused
        figures.handed_back = result.logged["turn_given_back"]
        back = [each for each in result.takeovers if each.loss is Loss.drained]
        figures.slowest_handover = max((each.seconds for each in back), default=0.0)
        accepted = [s for ledger in self._ledgers for s in ledger.sent if s.accepted]
        figures.slowest_accept = max((sent.ended - sent.began for sent in accepted), default=0.0)


def problems(rollout: Rollout, result: StormResult) -> list[str]:
    """Why it was no rollout without downtime."""
    figures = rollout.steps.figures
    counted = (each for each in result.violations if not rollout.is_of_old_end(each))
    found = [f"{violation.invariant}: {violation.detail}" for violation in counted]
    found += [f"{n} turns ended {end}" for end, n in result.turns.items() if end not in ENDS]
    # The new release refuses until its schema is there; nobody else does, and nothing else happens.
    found += [
        f"{count} answers of the {name}"
        for name, count in figures.requests.items()
        if count and int(name.split()[1]) >= 500 and name != "new 503"
    ]
    return found


def lines(part: Part) -> list[Line]:
    found: list[Line] = []
    for life in part.lives:
        found += read_log(life.log.read_text(errors="replace"))[0]
    return found


def statuses(part: Part, after: float = 0.0) -> list[int]:
    """Of its answers; that it is alive says nothing."""
    found = (line for line in lines(part) if line.event == "http_request" and line.at > after)
    return [line.fields["status"] for line in found if line.fields["route"] != "/health"]
