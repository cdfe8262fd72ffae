"""One attempt at a turn, told top down: history, agent, record, finish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from agents import TResponseInputItem

from shared.db import Database
from shared.errors import CancelRequested, LeaseLost, ParleyError, RequestError
from shared.events import Message
from shared.feed import Feed
from shared.log import told
from shared.metrics import LIMITED
from shared.settings import Settings
from shared.store.approvals import approved_calls
from shared.store.claims import Claim
from shared.store.context import load_conversation_context
from shared.store.fence import is_cancelled
from shared.store.messages import messages_of_turn
from shared.store.usage import tokens_today
from worker.agent import ChosenModel, run_agent
from worker.failures import AttemptsExhausted, TokenBudgetExhausted, TurnTimeout, failure_of
from worker.history import calls_of, input_items
from worker.recorder import Recorder
from worker.recording import RecordedModel
from worker.retries import pause_for
from worker.tally import Tally, turn_awaits_approval, turn_ended
from worker.tools.mcp import Servers
from worker.tools.tool import AnyTool, Toolbox, written

log = structlog.get_logger()


class AwaitsApproval(ParleyError):
    """The turn waits for its owner, and is nobody's until then."""


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
        servers: Servers,
        claimed: Claim,
        context: list[Message],
    ) -> None:
        self._settings = settings
        self._db = db
        self._servers = servers
        self._claimed = claimed
        self._began = time.monotonic()
        self._context: list[Message] | None = context
        self.completed = False
        self.recorder = Recorder(
            db,
            feed,
            claimed.turn,
            owner=claimed.owner,
            metadata={"demo": True} if model.demo else None,
        )
        self._tally = Tally(model.model.name)
        self._toolbox = Toolbox(
            tools,
            owner=claimed.owner,
            recorder=self.recorder,
            timeout=settings.parley_tool_timeout_seconds,
            tally=self._tally,
        )
        self._model = RecordedModel(
            model.model,
            recorder=self.recorder,
            toolbox=self._toolbox,
            settings=settings,
            tally=self._tally,
            read=self._read,
        )

    async def run(self) -> None:
        """Ends the turn, whatever happens, or lets it wait for its owner.

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
        async with asyncio.timeout(left), self._servers.connected(self._claimed.owner) as outside:
            self._toolbox.add(outside, elsewhere=self._servers.prefixes)
            await self._resume()
            answered = False
            while not answered:
                # One more than the model allows itself: its error is the better one.
                most = self._settings.parley_max_model_calls + 1
                await run_agent(self._model, self._toolbox, max_turns=most)
                answered = await self.recorder.complete(self._model.final_metadata)
        self.completed = True
        self._told()

    async def _resume(self) -> None:
        """Finishes what an earlier attempt committed and didn't come to do, then does what the
        owner has approved since, each in the order the model asked.
        """
        turn = self._claimed.turn
        if turn.attempt == 1:
            return
        async with self._db.snapshot(self._claimed.owner) as tx:
            calls = calls_of(await messages_of_turn(tx, turn.conversation_id, turn.id), turn.id)
            approved = await approved_calls(tx, turn.id)
        left = [call for call in calls if call.status == "running"]
        awaiting = [call for call in calls if call.status == "awaiting_approval"]
        may_run = [call for call in awaiting if call.id in approved]
        undecided = [call for call in awaiting if call.id not in approved]
        done = len(calls) - len(left) - len(may_run) - len(undecided)
        log.info("turn_resumed", calls_done=done, calls_open=len(left), approved=len(may_run))
        for call in left:
            await self._toolbox.resume(call, approved=call.id in approved)
        for call in may_run:
            await self.recorder.call_begun(call.id)
            await self._toolbox.call(call.id, call.tool_name, written(call.arguments))
        if left or may_run:
            self._context = None
        self.recorder.awaits_approval = bool(undecided)

    async def _read(self) -> list[TResponseInputItem]:
        """The history as it is now: the rows are what the model reads, each time it is asked.

        Raises LeaseLost, CancelRequested or TokenBudgetExhausted: then there is nothing more to
        ask; AwaitsApproval where there is not yet.
        """
        if self.recorder.awaits_approval:
            await self.recorder.pause(worked_seconds=time.monotonic() - self._began)
            raise AwaitsApproval
        turn = self._claimed.turn
        messages, self._context = self._context, None
        budget = self._settings.parley_limit_tokens_per_day
        if messages is None or budget:
            async with self._db.snapshot(self._claimed.owner) as tx:
                if budget and await tokens_today(tx, self._claimed.owner) >= budget:
                    LIMITED.labels("tokens").inc()
                    raise TokenBudgetExhausted
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
        if isinstance(cause, AwaitsApproval):
            turn_awaits_approval()
            return
        if isinstance(cause, CancelRequested):
            await self.cancel()
            return
        pause = pause_for(cause, errors_before=self._claimed.model_errors, settings=self._settings)
        failure = failure_of(cause)
        if pause is not None:
            seconds = round(pause.seconds, 3)
            log.warning("model_retry", seconds=seconds, code=failure.code, **told(cause))
            raise pause from None
        await self.recorder.fail(failure)
        self._told(cause)

    async def cancel(self) -> None:
        """Ends the turn as cancelled, with what there is of it."""
        await self.recorder.cancel()
        self._told()

    def _told(self, cause: Exception | None = None) -> None:
        if self.recorder.ended is not None:
            turn_ended(self.recorder.ended, self._claimed, self._tally, cause)
