"""One attempt at a turn, told top down: history, agent, record, finish."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from agents import Runner, TResponseInputItem

from shared.db import Database
from shared.errors import CancelRequested, LeaseLost, RequestError
from shared.events import Message
from shared.feed import Feed
from shared.settings import Settings
from shared.store.claims import Claim, is_cancelled
from shared.store.messages import load_conversation_context
from worker.agent import RUN_CONFIG, ChosenModel, build_agent
from worker.failures import AttemptsExhausted, TurnTimeout, failure_of
from worker.history import calls_of, input_items
from worker.recorder import Recorder
from worker.recording import RecordedModel
from worker.retries import pause_for
from worker.tools.tool import AnyTool, Toolbox

log = structlog.get_logger()


class Attempt:
    """What a worker does with a turn it has claimed, from the history to the turn's end."""

    def __init__(
        self,
        settings: Settings,
        *,
        db: Database,
        feed: Feed,
        model: ChosenModel,
        tools: Sequence[AnyTool],
        claimed: Claim,
        context: list[Message],
    ) -> None:
        self._settings = settings
        self._db = db
        self._claimed = claimed
        self._context: list[Message] | None = context
        self.recorder = Recorder(
            db, feed, claimed.turn, metadata={"demo": True} if model.demo else None
        )
        self._toolbox = Toolbox(
            tools,
            owner=claimed.owner,
            recorder=self.recorder,
            timeout=settings.parley_tool_timeout_seconds,
        )
        self._model = RecordedModel(
            model.model,
            recorder=self.recorder,
            toolbox=self._toolbox,
            settings=settings,
            read=self._read,
        )

    async def run(self) -> None:
        """Ends the turn, whatever happens.

        Raises Pause if another attempt should follow, LeaseLost if the turn is somebody else's,
        and RequestError if the database is away: then nothing has ended.
        """
        try:
            await self._work()
        except Exception as error:
            await self._end(self._cause(error))

    async def _work(self) -> None:
        if self._claimed.crashes >= self._settings.parley_max_attempts:
            raise AttemptsExhausted
        left = self._settings.parley_turn_timeout_seconds - self._claimed.worked_seconds
        async with asyncio.timeout(left):
            await self._resume()
            answered = False
            while not answered:
                await Runner.run(
                    build_agent(self._model, self._toolbox),
                    [],  # the model reads the rows by itself
                    # One more than the model allows itself: its error is the better one.
                    max_turns=self._settings.parley_max_model_calls + 1,
                    run_config=RUN_CONFIG,
                )
                answered = await self.recorder.complete(self._model.final_metadata)
        log.info("turn_completed", **self.recorder.usage)

    async def _resume(self) -> None:
        """Finishes what an earlier attempt committed and didn't come to do."""
        calls = calls_of(self._context or (), self._claimed.turn.id)
        left = [call for call in calls if call.status == "running"]
        if self._claimed.turn.attempt > 1:
            log.info("turn_resumed", calls_done=len(calls) - len(left), calls_open=len(left))
        for call in left:
            await self._toolbox.resume(call)
            self._context = None

    async def _read(self) -> list[TResponseInputItem]:
        """The history as it is now: the rows are what the model reads, each time it is asked.

        Raises LeaseLost or CancelRequested: then there is nothing more to ask.
        """
        turn = self._claimed.turn
        messages, self._context = self._context, None
        if messages is None:
            async with self._db.snapshot() as tx:
                if await is_cancelled(tx, turn):
                    raise CancelRequested
                messages = await load_conversation_context(
                    tx, turn.conversation_id, order=self._claimed.order
                )
        self.recorder.read_to = max((message.seq for message in messages), default=0)
        return input_items(messages, turn.id)

    def _cause(self, error: Exception) -> Exception:
        """The SDK may hide on the way out what ended its run."""
        cause = self._toolbox.broken or self._model.failure or error
        return TurnTimeout() if isinstance(cause, TimeoutError) else cause

    async def _end(self, cause: Exception) -> None:
        if isinstance(cause, LeaseLost | RequestError):
            raise cause from None
        if isinstance(cause, CancelRequested):
            await self.cancel()
            return
        pause = pause_for(cause, errors_before=self._claimed.model_errors, settings=self._settings)
        failure = failure_of(cause)
        facts: dict[str, Any] = {"code": failure.code, "cause": type(cause).__name__}
        if pause is not None:
            log.warning("model_retry", seconds=round(pause.seconds, 3), **facts)
            raise pause from None
        log.warning("turn_failed", **facts)
        await self.recorder.fail(failure)

    async def cancel(self) -> None:
        """Ends the turn as cancelled, with what there is of it."""
        await self.recorder.cancel()
        log.info("turn_cancelled")
