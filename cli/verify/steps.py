"""The table of steps: one worker dies or freezes at each step of a turn, another one goes on.

Each cell is decided by conditions and not by luck. The only worker awake is rigged and falls at
the step; then a second one is woken. A frozen one is woken too, while the second one is in the
middle of the turn, without a heartbeat that would tell it to leave: it may change nothing.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx

from cli.errors import CliError
from cli.verify.cells import Cell, Outcome, cells
from cli.verify.conduct import Complaints, Conduct
from cli.verify.part import Part, until
from cli.verify.stack import Stack
from cli.verify.takeover import Line, read_log
from cli.verify.witness import Witness
from shared.connection import EVERYONE
from shared.store.audit import count_active
from shared.store.proof import rows_of

LANES = 2
SETTINGS = {"PARLEY_LEASE_SECONDS": "1.5", "PARLEY_SWEEP_SECONDS": "0.3"}
# What a worker says of a turn when it is through with it.
OUTCOMES = (
    *("turn_ended", "turn_lost", "turn_interrupted", "turn_given_back"),
    *("ring_abandoned", "sweep_task_failed"),
)
REACH_SECONDS = 20.0
GO_ON_SECONDS = 40.0  # Postgres ends the open transaction of a frozen one only after a while
SETTLE_SECONDS = 20.0
MEDDLE_SECONDS = 1.5


class Missed(Exception):
    """Something did not happen in time, so the cell can't go on."""


async def prove_all(root: Path, done: Callable[[Outcome], None], complaints: Complaints) -> None:
    """Every cell, on so many stacks side by side."""
    left = cells()
    try:
        async with asyncio.TaskGroup() as lanes:
            for number in range(1, LANES + 1):
                lanes.create_task(run_lane(root / f"steps-{number}", left, done, complaints))
    except* CliError as errors:
        raise errors.exceptions[0] from None


async def run_lane(
    root: Path, left: list[Cell], done: Callable[[Outcome], None], complaints: Complaints
) -> None:
    """Takes cells off the list until it is empty."""
    stack = Stack(root, workers=1, apis=1, settings=SETTINGS)
    try:
        await stack.start()
        lane = Lane(stack)
        while left:
            outcome = await lane.prove(left.pop(0))
            done(outcome)
            complaints.check(Conduct.steps, not outcome.problems)
            for problem in outcome.problems:
                complaints.add(Conduct.steps, f"{outcome.cell.name}: {problem}\n{root}")
        await lane.close()
        await stack.stop()
    finally:
        await stack.abandon()
        complaints.take(stack.complaints)


class Lane:
    """Proves cells one by one, on a stack of its own with one healthy worker."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._healthy = stack.workers[0]
        self._database = stack.database()
        self._model = httpx.AsyncClient(base_url=stack.model_url, trust_env=False)

    async def close(self) -> None:
        await self._model.aclose()
        await self._database.close()

    async def prove(self, cell: Cell) -> Outcome:
        arguments = ("--at", cell.step, "--do", cell.do)
        rigged = self._stack.worker(f"rigged-{cell.name}", "worker.rigged", *arguments)
        self._stack.others.append(rigged)
        outcome = Outcome(cell)
        owner = f"owner of {cell.name}"
        witness = Witness(self._stack.urls()[0], owner, self._stack.token(owner))
        try:
            await rigged.start()
            await self._model.post("/reset")
            async with witness:
                await self._fall(cell, rigged, witness)
                outcome.seconds = await self._go_on(cell, witness)
                if cell.do == "stop":
                    rigged.send(signal.SIGCONT)
                await self._end(cell, rigged, witness)
                outcome.problems += await witness.judge(cell)
                if cell.do == "stop":
                    outcome.problems += await self._settle(cell, rigged, owner)
                outcome.problems += await witness.compare()
        except (Missed, httpx.HTTPError) as error:
            outcome.problems.append(str(error) or type(error).__name__)
        finally:
            await self._tidy(rigged, owner)
        return outcome

    async def _fall(self, cell: Cell, rigged: Part, witness: Witness) -> None:
        self._healthy.pause()
        if cell.do == "kill":
            rigged.may_end()
        await witness.say(cell.text)
        fallen = (lambda: not rigged.running) if cell.do == "kill" else (lambda: rigged.stopped)
        await must("the rigged worker did not reach the step", fallen, REACH_SECONDS)

    async def _go_on(self, cell: Cell, witness: Witness) -> float:
        """How long it takes until the viewer sees it."""
        fell = time.monotonic()
        self._healthy.resume()
        saw = witness.saw_the_end if cell.ended else lambda: witness.saw_attempt(cell.attempt)
        await must("nobody went on with the turn", saw, GO_ON_SECONDS)
        return time.monotonic() - fell

    async def _end(self, cell: Cell, rigged: Part, witness: Witness) -> None:
        """Before the answer may end, the woken one has its chance to meddle."""
        if cell.gated:
            await must("the answer did not begin", lambda: witness.sees_text, SETTLE_SECONDS)
            await until(lambda: said_an_outcome(rigged), seconds=MEDDLE_SECONDS)
            await self._model.post("/gate/open")
        await must("the turn did not end", witness.turn_ended, SETTLE_SECONDS)
        await must("the viewer did not see it end", witness.saw_everything, SETTLE_SECONDS)

    async def _settle(self, cell: Cell, rigged: Part, owner: str) -> list[str]:
        """Once the woken one has ended, nothing of it can follow."""
        before = await self._rows(owner)
        settled = "the woken worker did not settle"
        await must(settled, lambda: said_an_outcome(rigged), SETTLE_SECONDS)
        await rigged.stop()
        after = await self._rows(owner)
        problems = [f"the woken worker wrote {row}" for row in after if row not in before]
        problems += [f"the woken worker lost {row}" for row in before if row not in after]
        if not cell.ended and said_completed(rigged):
            problems.append("the woken worker believes that it completed the turn")
        return problems

    async def _rows(self, owner: str) -> list[str]:
        async with self._database.snapshot(EVERYONE) as tx:
            return await rows_of(tx, owner)

    async def _tidy(self, rigged: Part, owner: str) -> None:
        """Whatever came of it: the next cell begins with one idle worker."""
        if rigged.life.ended is None:
            await rigged.kill()
        self._stack.others.remove(rigged)
        self._healthy.resume()
        await self._model.post("/gate/open")
        with suppress(Missed):
            await must("the turn is still there", lambda: self._idle(owner), SETTLE_SECONDS)

    async def _idle(self, owner: str) -> bool:
        async with self._database.snapshot(EVERYONE) as tx:
            return not await count_active(tx, [owner])


def said_an_outcome(worker: Part) -> bool:
    return any(line.event in OUTCOMES for line in lines_of(worker))


def said_completed(worker: Part) -> bool:
    ends = [line.fields for line in lines_of(worker) if line.event == "turn_ended"]
    return any(fields["status"] == "completed" for fields in ends)


def lines_of(worker: Part) -> list[Line]:
    return read_log(worker.life.log.read_text(errors="replace"))[0]


async def must(
    sentence: str, condition: Callable[[], bool | Awaitable[bool]], seconds: float
) -> None:
    if not await until(condition, seconds=seconds):
        raise Missed(f"{sentence} within {seconds:g} s")
