"""A turn, told top down: claim, history, agent, record, finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import UUID

import msgspec
import structlog
from agents import Runner

from shared.db import Database
from shared.errors import LeaseLost, RequestError
from shared.events import Message
from shared.feed import Feed
from shared.ids import new_id
from shared.jobs import Jobs
from shared.settings import Settings
from shared.store.messages import load_conversation_context
from shared.store.turns import Claim, claim, give_back
from worker.agent import RUN_CONFIG, ChosenModel, build_agent
from worker.failures import AttemptsExhausted, TurnTimeout, failure_of
from worker.history import input_items, open_calls
from worker.recorder import Recorder
from worker.recording import RecordedModel
from worker.tools.tasks import TASK_TOOLS
from worker.tools.tool import Toolbox

log = structlog.get_logger()

Held = tuple[UUID, int]


class Turns:
    """Runs turns, and knows which ones this worker holds."""

    def __init__(
        self, settings: Settings, *, db: Database, feed: Feed, jobs: Jobs, model: ChosenModel
    ) -> None:
        self.worker_id = new_id()
        self._settings = settings
        self._db = db
        self._feed = feed
        self._jobs = jobs
        self._model = model
        self._running: dict[Held, asyncio.Task[object]] = {}
        self._lost: set[Held] = set()
        self._suspects: set[Held] = set()

    @property
    def held(self) -> set[Held]:
        """The turns this worker runs, as (turn, attempt)."""
        return set(self._running)

    @property
    def free(self) -> int:
        return max(0, self._settings.parley_max_turns - len(self._running))

    def lose(self, turns: set[Held]) -> None:
        """Ends the work on turns that somebody else holds or that were cancelled."""
        for held in turns & self._running.keys():
            self._lost.add(held)
            self._running[held].cancel()

    def forgotten(self, held: set[Held]) -> set[Held]:
        """Turns that the rows say we hold, now and at the last look, and that we don't run.

        A claim whose commit was lost on its way back to us, or a turn that could not be given
        back while Postgres was away: our own heartbeat would keep them from everybody. One look
        is not enough, for a claim is in the rows a moment before it is here.
        """
        orphans = held - self._running.keys()
        found = orphans & self._suspects
        self._suspects = orphans - found
        return found

    async def run_head(self, conversation_id: UUID) -> bool:
        """Runs the turn at the head of the conversation; False if there is none for us."""
        claimed, context = await self._claim(conversation_id)
        if claimed is None:
            return False
        with structlog.contextvars.bound_contextvars(
            turn_id=str(claimed.turn.id), attempt=claimed.turn.attempt
        ):
            log.info("turn_claimed", conversation_id=str(conversation_id))
            async with self._holding(claimed):
                await self._run(claimed, context)
        return True

    async def run_all(self, conversation_id: UUID) -> None:
        """Runs the head turn, then rings for the next; without Redis it goes on by itself."""
        while await self.run_head(conversation_id):
            if await self._jobs.ring(conversation_id):
                return

    async def _claim(self, conversation_id: UUID) -> tuple[Claim | None, list[Message]]:
        async with self._db.transaction() as tx:
            claimed = await claim(
                tx, conversation_id, worker_id=self.worker_id, model=self._model.name
            )
            if claimed is None:
                return None, []
            context = await load_conversation_context(tx, conversation_id, order=claimed.order)
            tx.after_commit(partial(self._feed.changes, conversation_id, claimed.changes))
        return claimed, context

    async def _run(self, claimed: Claim, context: list[Message]) -> None:
        turn = claimed.turn
        recorder = Recorder(
            self._db, self._feed, turn, metadata={"demo": True} if self._model.demo else None
        )
        toolbox = Toolbox(
            TASK_TOOLS,
            owner=claimed.owner,
            recorder=recorder,
            timeout=self._settings.parley_tool_timeout_seconds,
        )
        model = RecordedModel(
            self._model.model, recorder=recorder, toolbox=toolbox, settings=self._settings
        )
        recorder.adopt([call.id for call in open_calls(context, turn.id)])
        try:
            if turn.attempt > self._settings.parley_max_attempts:
                raise AttemptsExhausted
            async with asyncio.timeout(self._settings.parley_turn_timeout_seconds):
                context = await self._finish_open_calls(claimed, context, toolbox)
                await Runner.run(
                    build_agent(model, toolbox),
                    input_items(context),
                    max_turns=self._settings.parley_max_model_calls,
                    run_config=RUN_CONFIG,
                )
            await recorder.complete(recorder.text, model.final_metadata)
            log.info("turn_completed", **recorder.usage)
        except Exception as error:
            cause = toolbox.broken or model.failure or error
            if isinstance(cause, TimeoutError):
                cause = TurnTimeout()
            if isinstance(cause, LeaseLost | RequestError):
                raise cause from None
            failure = failure_of(cause)
            log.warning("turn_failed", code=failure.code, cause=type(cause).__name__)
            await recorder.fail(failure)

    async def _finish_open_calls(
        self, claimed: Claim, context: list[Message], toolbox: Toolbox
    ) -> list[Message]:
        """Runs the calls that an earlier attempt committed and didn't come to run.

        Effect and result of a tool are one transaction, so a call without a result had no effect.
        """
        calls = open_calls(context, claimed.turn.id)
        if not calls:
            return context
        for call in calls:
            arguments = msgspec.json.encode(call.arguments)
            await toolbox.call(call.id, call.tool_name, arguments)
        async with self._db.snapshot() as tx:
            return await load_conversation_context(
                tx, claimed.turn.conversation_id, order=claimed.order
            )

    @asynccontextmanager
    async def _holding(self, claimed: Claim) -> AsyncGenerator[None]:
        """While the turn is ours. What ends us without ending it gives it back."""
        held = (claimed.turn.id, claimed.turn.attempt)
        task = asyncio.current_task()
        assert task is not None
        self._running[held] = task
        try:
            yield
        except LeaseLost:
            log.info("turn_lost")
        except asyncio.CancelledError:
            if held not in self._lost:
                await asyncio.shield(self._give_back(claimed))
                raise
            log.info("turn_lost")
            task.uncancel()
        except RequestError as error:
            log.warning("turn_interrupted", error=error.code)
            await self._give_back(claimed)
        finally:
            del self._running[held]
            self._lost.discard(held)

    async def _give_back(self, claimed: Claim) -> None:
        """Another worker goes on at once; if this fails, a heartbeat does it (`forgotten`)."""
        with suppress(RequestError):
            async with self._db.transaction() as tx:
                turn = claimed.turn
                await give_back(tx, turn.id, turn.attempt, worker_id=self.worker_id)
            await self._jobs.ring(claimed.turn.conversation_id)
            log.info("turn_given_back")
