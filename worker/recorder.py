"""Writes what a turn does: every step is one transaction, fenced by `(turn_id, attempt)`.

What a step changed is told after its commit. A writer that lost its lease gets LeaseLost and has
changed nothing; one whose turn was cancelled gets CancelRequested and may only write its end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from shared.db import Database, Transaction
from shared.errors import LeaseLost
from shared.events import Change, MessageStatus, Turn, TurnError, TurnUpdated
from shared.feed import Feed
from shared.ids import new_id
from shared.spans import Kind, Moment, Span, span
from shared.store.approvals import begin_call, pause_turn
from shared.store.calls import finish_call, start_calls
from shared.store.endings import EarlyEnd, Spent, Text, end_early, end_turn, go_on
from shared.store.fence import Hold, hold, is_cancelled
from shared.store.messages import NewCall, add_message
from shared.store.sequence import lock_conversation
from shared.store.usage import keep_usage
from worker.history import READ_TO
from worker.live import LiveMessage
from worker.steps import Step, reached

Effect = Callable[[Transaction], Awaitable[Any]]

CALLS = (Step.CALLS_WRITTEN, Step.CALLS_COMMITTED, Step.CALLS_TOLD)
RESULT = (Step.RESULT_WRITTEN, Step.RESULT_COMMITTED, Step.RESULT_TOLD)
END = (Step.END_WRITTEN, Step.END_COMMITTED, Step.END_TOLD)


class Recorder:
    """One attempt at one turn."""

    def __init__(
        self,
        db: Database,
        feed: Feed,
        turn: Turn,
        *,
        owner: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.turn = turn
        self.usage: dict[str, int] = dict(turn.usage or {})
        self.ended: Turn | None = None
        """The turn as this attempt ended it."""
        self.read_to = 0
        """The number up to which the model has read the conversation."""
        self.awaits_approval = False
        """There are calls that wait for the owner: the model is not to be asked before."""
        self.over = False
        """The turn's end is committed; what is left is to tell of it."""
        self.others_wait = True
        """Other turns may be waiting in the conversation; False if none was when this one ended."""
        self._db = db
        self._feed = feed
        self._owner = owner
        self._metadata = metadata or {}
        self._base = turn.seq
        self._message_id: UUID = new_id()
        self._live: LiveMessage | None = None
        self._first_token: float | None = None

    @property
    def text(self) -> str:
        """What the message being written holds so far."""
        return self._live.text if self._live else ""

    def new_message(self) -> LiveMessage:
        """Begins the message that the next model call writes."""
        self._message_id = new_id()
        self._live = LiveMessage(
            self._feed, self.turn, message_id=self._message_id, base=self._base
        )
        return self._live

    def count_usage(self, usage: dict[str, int]) -> None:
        """Adds a model call's tokens to the turn's."""
        for name, amount in usage.items():
            self.usage[name] = self.usage.get(name, 0) + amount

    def first_token(self) -> None:
        if self._first_token is None:
            self._first_token = time.monotonic()

    async def calls_made(
        self, calls: Sequence[NewCall], metadata: dict[str, Any], *, awaiting: Collection[str] = ()
    ) -> None:
        """Commits an assistant message that asks for tools, before any of them runs. Those of
        `awaiting` run only once they are approved.
        """
        text = self.text
        async with self._step(CALLS) as tx:
            count = 1 + len(calls)
            held = await hold(
                tx,
                self.turn,
                changes=count,
                read_to=self.read_to,
                messages=count,
                preview=text,
            )
            asked = await add_message(
                tx,
                conversation_id=self.turn.conversation_id,
                turn_id=self.turn.id,
                seq=held.seq,
                role="assistant",
                content=text,
                message_id=self._message_id,
                calls=calls,
                metadata=self._written_with(held) | metadata,
            )
            started = await start_calls(
                tx,
                conversation_id=self.turn.conversation_id,
                turn_id=self.turn.id,
                seq=held.seq + 1,
                calls=calls,
                awaiting=awaiting,
            )
            if self.usage:
                await keep_usage(tx, self.turn.id, dict(self.usage))
            self._tell(tx, [asked, *started])
        self._live = None
        self._base = held.seq + len(calls)
        self.awaits_approval |= bool(awaiting)

    async def call_begun(self, call_id: str) -> None:
        """Commits that an approved call is at work, before it is."""
        async with self._step(CALLS) as tx:
            held = await hold(tx, self.turn, changes=1)
            begun = await begin_call(tx, call_id, seq=held.seq)
            assert begun is not None
            self._tell(tx, [begun])
        self._base = held.seq

    async def call_done(self, call_id: str, effect: Effect) -> Any:
        """Runs a tool's effect on our database and commits it together with its result."""
        async with self._step(RESULT) as tx:
            held = await hold(tx, self.turn, changes=1)
            result = await effect(tx)
            await self._finish_call(tx, call_id, held, "completed", result)
        return result

    async def call_failed(self, call_id: str, result: Any) -> None:
        async with self._step(RESULT) as tx:
            held = await hold(tx, self.turn, changes=1)
            await self._finish_call(tx, call_id, held, "failed", result)

    async def complete(self, metadata: dict[str, Any]) -> bool:
        """Commits the answer and with it the turn's end.

        False if the user has said more meanwhile: then the turn goes on, with the answer so far.
        """
        text = self.text
        async with self._step(END) as tx:
            held = await hold(
                tx, self.turn, changes=2, read_to=self.read_to, messages=1, preview=text
            )
            said = await add_message(
                tx,
                conversation_id=self.turn.conversation_id,
                turn_id=self.turn.id,
                seq=held.seq,
                role="assistant",
                content=text,
                message_id=self._message_id,
                metadata=self._written_with(held) | metadata,
            )
            if held.steered:
                last = await go_on(tx, self.turn, seq=held.seq + 1, spent=self._spent())
            else:
                tx.after_commit(self._is_over)
                last, self.others_wait = await end_turn(
                    tx, self.turn, seq=held.seq + 1, status="completed", spent=self._spent()
                )
            self._tell(tx, [said, last])
        self._live = None
        self._base = held.seq + 1
        self.ended = None if held.steered else last.turn
        return not held.steered

    async def pause(self, *, worked_seconds: float) -> None:
        """Lets go of the turn until its owner has decided."""
        async with self._step(END) as tx:
            tx.after_commit(self._is_over)
            held = await hold(tx, self.turn, changes=1)
            paused = await pause_turn(
                tx,
                self.turn,
                seq=held.seq,
                worked_seconds=worked_seconds,
                spent=self._spent(),
            )
            self._tell(tx, [paused])

    async def fail(self, error: TurnError) -> None:
        """Ends the turn with what there is: the text so far, a result for every call, the error.

        A turn that somebody asked to cancel is cancelled and not failed.
        """
        await self._end_early(error)

    async def cancel(self) -> None:
        """The same, where somebody asked to cancel it."""
        await self._end_early(None)

    async def _end_early(self, error: TurnError | None) -> None:
        async with self._step(END) as tx:
            tx.after_commit(self._is_over)
            if not await lock_conversation(tx, self.turn.conversation_id):
                raise LeaseLost
            cancelled = await is_cancelled(tx, self.turn) or error is None
            status: EarlyEnd = "cancelled" if cancelled else "failed"
            changes = await end_early(
                tx,
                self.turn,
                status,
                error=None if cancelled else error,
                text=Text(self._message_id, self.text, self._metadata),
                spent=self._spent(),
            )
            self._tell(tx, changes)
        self._live = None
        self.ended = ended_in(changes, self.turn)

    @asynccontextmanager
    async def _step(self, names: tuple[Step, Step, Step]) -> AsyncGenerator[Transaction]:
        written, committed, told = names
        with span(Kind.COMMIT, written.removesuffix("_written")) as step:
            async with self._db.transaction(self._owner) as tx:
                tx.after_commit(partial(_committed, step, committed))
                yield tx
                await reached(written)
            await reached(told)

    async def _finish_call(
        self, tx: Transaction, call_id: str, held: Hold, status: MessageStatus, result: Any
    ) -> None:
        change = await finish_call(tx, call_id, seq=held.seq, status=status, result=result)
        if change is not None:
            self._tell(tx, [change])
        self._base = max(self._base, held.seq)

    async def _is_over(self) -> None:
        self.over = True

    def _written_with(self, held: Hold) -> dict[str, Any]:
        """What the model knew when it wrote, where that isn't everything before its message."""
        return self._metadata | ({READ_TO: self.read_to} if held.steered else {})

    def _spent(self) -> Spent:
        ago = None
        if self._first_token is not None:
            ago = timedelta(seconds=time.monotonic() - self._first_token)
        return Spent(usage=dict(self.usage) or None, first_token_ago=ago)

    def _tell(self, tx: Transaction, changes: Sequence[Change]) -> None:
        tx.after_commit(partial(self._feed.changes, self.turn.conversation_id, list(changes)))


async def _committed(step: Span, name: Step) -> None:
    step.passed(Moment.COMMITTED)
    await reached(name)


def ended_in(changes: Sequence[Change], turn: Turn) -> Turn | None:
    """The turn as these changes left it."""
    found = [c.turn for c in changes if isinstance(c, TurnUpdated) and c.turn.id == turn.id]
    return found[-1] if found else None
