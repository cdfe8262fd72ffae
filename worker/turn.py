"""The turns of a worker: which it claims, which it holds, and how it lets go of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog

from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import LeaseLost, OwnerAtLimit, RequestError
from shared.events import Message
from shared.feed import Feed
from shared.ids import new_id
from shared.jobs import Jobs
from shared.metrics import CLAIMED, LIMITED, PLACES, RUNNING
from shared.settings import Settings
from shared.store.claims import Claim, claim, give_back
from shared.store.context import load_conversation_context
from shared.tasks import TASK_TOOLS
from worker.agent import ChosenModel
from worker.attempt import Attempt
from worker.gate import Gate
from worker.orphans import end_cancelled
from worker.recorder import Recorder
from worker.retries import Pause
from worker.steps import Step, reached
from worker.tally import turn_given_back, turn_lost
from worker.titles import Titles
from worker.tools.mcp import Servers
from worker.tools.tool import AnyTool
from worker.traces import turn_span

log = structlog.get_logger()

SHORT_PAUSE_SECONDS = 2.0
"""A pause is waited for in place up to this; after a longer one the sweep finds the turn."""
AWAY_SECONDS = 1.0
FORGOTTEN_AFTER_SECONDS = 1.0
CLAIMS_AT_ONCE = 4
CLAIM_WAIT_SECONDS = 1.0

Held = tuple[UUID, int]


class Running(NamedTuple):
    """A turn at work."""

    task: asyncio.Task[object]
    recorder: Recorder


class Ran(NamedTuple):
    """An attempt was made; another one is due after `pause` seconds, at once if the turn ended."""

    owner: str
    pause: float = 0.0
    waits: bool = True
    """Another turn of the conversation may be waiting."""


class Turns:
    """Runs turns, and knows which ones this worker holds."""

    def __init__(
        self,
        settings: Settings,
        *,
        db: Database,
        feed: Feed,
        jobs: Jobs,
        model: ChosenModel,
        tools: Sequence[AnyTool] = TASK_TOOLS,
        servers: Servers | None = None,
    ) -> None:
        self.worker_id = new_id()
        self._settings = settings
        self._db = db
        self._feed = feed
        self._jobs = jobs
        self._model = model
        self._tools = tools
        self._servers = servers or Servers()
        self.titles = Titles(settings, db=db, feed=feed, model=model)
        self._running: dict[Held, Running] = {}
        self._gate = Gate(CLAIMS_AT_ONCE, patience=CLAIM_WAIT_SECONDS)
        self._suspect: Held | None = None
        """The one turn that others may have died of; no second one is run beside it."""
        self._lost: set[Held] = set()
        self._cancelled: set[Held] = set()
        self._orphans: dict[Held, float] = {}
        RUNNING.set_function(lambda: len(self._running))
        PLACES.set(settings.parley_max_turns)
        self.has_beaten = asyncio.Event()
        """Set once this worker has tried to get a lease: without one it claims nothing."""
        self.draining = False
        """No turn is claimed any more."""

    @property
    def held(self) -> set[Held]:
        """The turns this worker runs, as (turn, attempt)."""
        return set(self._running)

    @property
    def free(self) -> int:
        return max(0, self._settings.parley_max_turns - len(self._running))

    def lose(self, turns: set[Held]) -> None:
        """Drops the work on turns that somebody else holds or has ended."""
        for held in (turns & self._running.keys()) - self._lost:
            running = self._running[held]
            if not running.recorder.over:
                self._lost.add(held)
                running.task.cancel()

    def cancel(self, turns: set[Held]) -> None:
        """Stops the work on turns that somebody cancelled, and ends them."""
        for held in (turns & self._running.keys()) - self._cancelled:
            self._cancelled.add(held)
            self._running[held].task.cancel()

    def forgotten(self, held: set[Held]) -> set[Held]:
        """Turns that the rows have said we hold for a while now, and that we don't run.

        A claim whose commit was lost on its way back to us, or a turn that could not be given
        back while Postgres was away: our own heartbeat would keep them from everybody. One look
        is not enough, for a claim is in the rows a moment before it is here.
        """
        now = time.monotonic()
        orphans = held - self._running.keys()
        self._orphans = {orphan: self._orphans.get(orphan, now) for orphan in orphans}
        return {
            orphan for orphan in orphans if now - self._orphans[orphan] >= FORGOTTEN_AFTER_SECONDS
        }

    async def run_all(self, conversation_id: UUID) -> None:
        """Runs the head turn, then rings for the next; without Redis it goes on by itself.

        While we drain, what is left is for others.
        """
        owner = ""
        while not self.draining:
            ran = await self.run_head(conversation_id)
            if ran is None or ran.pause > SHORT_PAUSE_SECONDS:
                return
            owner = ran.owner
            if ran.pause:
                await asyncio.sleep(ran.pause)
            elif await self._jobs.ended(conversation_id, owner, waits=ran.waits):
                return
        await self._jobs.ring(conversation_id, owner)

    async def run_head(self, conversation_id: UUID) -> Ran | None:
        """One attempt at the turn at the head of the conversation; None if there is none for us."""
        try:
            claimed, context = await self._claim(conversation_id)
        except OwnerAtLimit as busy:
            LIMITED.labels("running_turns").inc()
            await self._jobs.park(conversation_id, busy.owner)
            return None
        if claimed is None:
            return None
        facts = {"turn_id": str(claimed.turn.id), "conversation_id": str(conversation_id)}
        with (
            structlog.contextvars.bound_contextvars(
                request_id=claimed.request_id, attempt=claimed.turn.attempt, **facts
            ),
            turn_span(claimed, self.worker_id),
        ):
            if claimed.cancelled:
                await end_cancelled(claimed, db=self._db, feed=self._feed)
                return Ran(claimed.owner)
            log.info("turn_claimed")
            CLAIMED.labels(claimed.cause).inc()
            return await self._run(claimed, context)

    async def _claim(self, conversation_id: UUID) -> tuple[Claim | None, list[Message]]:
        async with self._gate.passing(), self._db.transaction(EVERYONE) as tx:
            tx.after_commit(partial(reached, Step.CLAIM_COMMITTED))
            claimed = await claim(
                tx,
                conversation_id,
                worker_id=self.worker_id,
                model=self._model.model.name,
                suspects=self._suspect is None,
                running_limit=self._settings.parley_limit_running_turns,
            )
            if claimed is None:
                return None, []
            context = await load_conversation_context(tx, conversation_id, order=claimed.order)
            tx.after_commit(partial(self._feed.changes, conversation_id, claimed.changes))
            await reached(Step.CLAIM_WRITTEN)
        return claimed, context

    async def _run(self, claimed: Claim, context: list[Message]) -> Ran:
        attempt = Attempt(
            self._settings,
            db=self._db,
            feed=self._feed,
            model=self._model,
            tools=self._tools,
            servers=self._servers,
            claimed=claimed,
            context=context,
        )
        began = time.monotonic()
        try:
            async with self._holding(claimed, attempt.recorder):
                await reached(Step.CLAIM_TOLD)
                await self._run_or_cancel(claimed, attempt)
        except Pause as pause:
            worked = time.monotonic() - began
            await self._give_back(claimed, pause, worked=worked, usage=attempt.recorder.usage)
            return Ran(claimed.owner, pause.seconds)
        if attempt.completed:
            self.titles.begin(claimed)
        return Ran(claimed.owner, waits=attempt.recorder.others_wait)

    async def _run_or_cancel(self, claimed: Claim, attempt: Attempt) -> None:
        try:
            await attempt.run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or (claimed.turn.id, claimed.turn.attempt) not in self._cancelled:
                raise
            task.uncancel()
            await attempt.cancel()

    @asynccontextmanager
    async def _holding(self, claimed: Claim, recorder: Recorder) -> AsyncGenerator[None]:
        """While the turn is ours. What ends us without ending it raises Pause or gives it back."""
        held = (claimed.turn.id, claimed.turn.attempt)
        task = asyncio.current_task()
        assert task is not None
        self._running[held] = Running(task, recorder)
        if claimed.suspect:
            self._suspect = held
        try:
            yield
        except LeaseLost:
            turn_lost()
        except asyncio.CancelledError:
            if held not in self._lost:
                await asyncio.shield(self._give_back(claimed, Pause(0, "drain")))
                raise
            turn_lost()
            task.uncancel()
        except RequestError as error:
            log.warning("turn_interrupted", error=error.code)
            raise Pause(AWAY_SECONDS, "unavailable") from None
        finally:
            del self._running[held]
            self._suspect = None if self._suspect == held else self._suspect
            self._lost.discard(held)
            self._cancelled.discard(held)

    async def _give_back(
        self,
        claimed: Claim,
        pause: Pause,
        *,
        worked: float = 0.0,
        usage: dict[str, int] | None = None,
    ) -> None:
        """Another worker may go on after the pause. If this fails, a heartbeat does it."""
        with suppress(RequestError):
            async with self._db.transaction(claimed.owner) as tx:
                await give_back(
                    tx,
                    claimed.turn.id,
                    claimed.turn.attempt,
                    worker_id=self.worker_id,
                    worked_seconds=worked,
                    pause_seconds=pause.seconds,
                    model_errors=pause.model_errors,
                    usage=usage,
                )
            if not pause.seconds:
                await self._jobs.ring(claimed.turn.conversation_id, claimed.owner)
            turn_given_back(pause.seconds, pause.cause)
