"""Writes what a turn does: every step is one transaction, fenced by `(turn_id, attempt)`.

What a step changed is told after its commit. A writer that lost its lease gets LeaseLost and has
changed nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from shared.db import Database, Transaction
from shared.events import Change, MessageStatus, Turn, TurnError, TurnStatus
from shared.feed import Feed
from shared.ids import new_id
from shared.store.messages import NewCall, add_message, close_calls, finish_call, start_calls
from shared.store.turns import end_turn, hold
from worker.live import LiveMessage

Effect = Callable[[Transaction], Awaitable[Any]]


class Recorder:
    """One attempt at one turn."""

    def __init__(
        self, db: Database, feed: Feed, turn: Turn, *, metadata: dict[str, Any] | None = None
    ) -> None:
        self.turn = turn
        self.usage: dict[str, int] = {}
        self._db = db
        self._feed = feed
        self._metadata = metadata or {}
        self._base = turn.seq
        self._open: list[str] = []
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

    def adopt(self, calls: Sequence[str]) -> None:
        """Calls that an earlier attempt committed and left without a result."""
        self._open += calls

    async def calls_made(self, calls: Sequence[NewCall], metadata: dict[str, Any]) -> None:
        """Commits an assistant message that asks for tools, before any of them runs."""
        text = self.text
        async with self._db.transaction() as tx:
            count = 1 + len(calls)
            seq = await hold(tx, self.turn, changes=count, messages=count, preview=text)
            asked = await add_message(
                tx,
                conversation_id=self.turn.conversation_id,
                turn_id=self.turn.id,
                seq=seq,
                role="assistant",
                content=text,
                message_id=self._message_id,
                calls=calls,
                metadata=self._metadata | metadata,
            )
            started = await start_calls(
                tx,
                conversation_id=self.turn.conversation_id,
                turn_id=self.turn.id,
                seq=seq + 1,
                calls=calls,
            )
            self._tell(tx, [asked, *started])
        self._live = None
        self._base = seq + len(calls)
        self._open = [call.id for call in calls]

    async def call_done(self, call_id: str, effect: Effect) -> Any:
        """Runs a tool's effect on our database and commits it together with its result."""
        async with self._db.transaction() as tx:
            seq = await hold(tx, self.turn, changes=1)
            result = await effect(tx)
            await self._finish_call(tx, call_id, seq, "completed", result)
        self._closed(call_id, seq)
        return result

    async def call_failed(self, call_id: str, result: Any) -> None:
        async with self._db.transaction() as tx:
            seq = await hold(tx, self.turn, changes=1)
            await self._finish_call(tx, call_id, seq, "failed", result)
        self._closed(call_id, seq)

    async def complete(self, text: str, metadata: dict[str, Any]) -> None:
        """Commits the answer and the turn's end in one."""
        await self._end("completed", text, "completed", metadata=metadata)

    async def fail(self, error: TurnError) -> None:
        """Ends the turn with what there is: the text so far, a result for every call, the error."""
        await self._end("failed", self.text, "failed", error=error)

    async def _end(
        self,
        status: TurnStatus,
        text: str,
        message_status: MessageStatus,
        *,
        error: TurnError | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        written = 1 if text.strip() else 0
        async with self._db.transaction() as tx:
            count = len(self._open) + written + 1
            seq = await hold(tx, self.turn, changes=count, messages=written, preview=text)
            changes = await close_calls(tx, self._open, seq=seq, status="failed")
            if written:
                changes.append(
                    await add_message(
                        tx,
                        conversation_id=self.turn.conversation_id,
                        turn_id=self.turn.id,
                        seq=seq + len(self._open),
                        role="assistant",
                        content=text,
                        message_id=self._message_id,
                        status=message_status,
                        metadata=self._metadata | (metadata or {}),
                    )
                )
            ended = await end_turn(
                tx,
                self.turn,
                seq=seq + count - 1,
                status=status,
                error=error,
                usage=dict(self.usage) or None,
                first_token_ago=self._first_token_ago(),
            )
            self._tell(tx, [*changes, ended])
        self._live = None

    async def _finish_call(
        self, tx: Transaction, call_id: str, seq: int, status: MessageStatus, result: Any
    ) -> None:
        change = await finish_call(tx, call_id, seq=seq, status=status, result=result)
        if change is not None:
            self._tell(tx, [change])

    def _closed(self, call_id: str, seq: int) -> None:
        self._base = max(self._base, seq)
        self._open = [other for other in self._open if other != call_id]

    def _first_token_ago(self) -> timedelta | None:
        """An age and not a time: the clock that counts is the database's."""
        if self._first_token is None:
            return None
        return timedelta(seconds=time.monotonic() - self._first_token)

    def _tell(self, tx: Transaction, changes: Sequence[Change]) -> None:
        tx.after_commit(partial(self._feed.changes, self.turn.conversation_id, list(changes)))
