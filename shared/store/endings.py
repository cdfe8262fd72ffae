"""How a turn ends, and how an ended one begins again.

In whatever way it ends, every tool call of it gets a result in the same transaction, so that no
history can be broken; text that was streamed is kept. The caller holds the conversation's lock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Interval, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import JSONB

from shared.db import Transaction
from shared.errors import LeaseLost
from shared.events import Change, MessageUpdated, Turn, TurnError, TurnStatus, TurnUpdated
from shared.models import Conversation as ConversationRow
from shared.models import Message as MessageRow
from shared.models import Turn as Row_
from shared.publisher import LiveText
from shared.statement import Statement
from shared.store.calls import close_calls, open_calls
from shared.store.claims import holder_of
from shared.store.messages import add_message, message_exists, messages_of_turn
from shared.store.sequence import take_seqs
from shared.store.turns import ACTIVE, TURN_COLUMNS, WAITING, among, count_queued, move_up, turn_of
from shared.store.usage import ADDED, keep_usage, used_in

EarlyEnd = Literal["failed", "cancelled"]


class Spent(msgspec.Struct, frozen=True):
    """What the work on a turn cost."""

    usage: dict[str, Any] | None = None
    first_token_ago: timedelta | None = None
    """An age and not a time: the clock that counts is the database's."""


class Text(msgspec.Struct, frozen=True):
    """The text of a message that was being streamed."""

    message_id: UUID
    content: str
    metadata: dict[str, Any] = {}


_END = Statement(
    update(Row_)
    .where(Row_.id == bindparam("turn_id"), among(Row_.status, ACTIVE))
    .values(
        status=bindparam("status"),
        position=None,
        lease_owner=None,
        run_after=None,
        error=bindparam("error"),
        finished_at=func.clock_timestamp(),
        changed_seq=bindparam("seq"),
        usage=func.coalesce(bindparam("usage", type_=JSONB(none_as_null=True)), Row_.usage),
        first_token_at=func.coalesce(
            Row_.first_token_at,
            func.clock_timestamp() - bindparam("first_token_ago", type_=Interval),
        ),
    )
    .returning(*TURN_COLUMNS, (WAITING > 0).label("others_wait"))
    .add_cte(ADDED)
)


async def end_turn(
    tx: Transaction,
    turn: Turn,
    *,
    seq: int,
    status: TurnStatus,
    error: TurnError | None = None,
    spent: Spent = Spent(),  # noqa: B008 (frozen)
) -> tuple[TurnUpdated, bool]:
    """The terminal state, at `seq`, and whether other turns of the conversation wait. Every tool
    call has its result.
    """
    ended = {
        "turn_id": turn.id,
        "conversation_id": turn.conversation_id,
        "status": status,
        "error": msgspec.to_builtins(error),
        "seq": seq,
        "usage": spent.usage or None,
        "used": used_in(spent.usage or {}),
        "first_token_ago": spent.first_token_ago,
    }
    row = await tx.first(_END, ended)
    if row is None:
        raise LeaseLost
    return TurnUpdated(seq, turn_of(row)), row.others_wait


async def keep_spent(tx: Transaction, turn_id: UUID, spent: Spent) -> dict[str, Any]:
    """Counts the tokens; returns what else of it the turn's row is to say."""
    if spent.usage:
        await keep_usage(tx, turn_id, spent.usage)
    if spent.first_token_ago is None:
        return {}
    first = func.clock_timestamp() - spent.first_token_ago
    return {"first_token_at": func.coalesce(Row_.first_token_at, first)}


async def go_on(tx: Transaction, turn: Turn, *, seq: int, spent: Spent) -> TurnUpdated:
    """The turn has answered and runs on, because the user said more meanwhile."""
    if spent.usage:
        await keep_usage(tx, turn.id, spent.usage)
    row = await tx.first(
        update(Row_).where(Row_.id == turn.id).values(changed_seq=seq).returning(*TURN_COLUMNS)
    )
    assert row is not None
    return TurnUpdated(seq, turn_of(row))


async def end_early(
    tx: Transaction,
    turn: Turn,
    status: EarlyEnd,
    *,
    error: TurnError | None = None,
    text: Text | None = None,
    spent: Spent = Spent(),  # noqa: B008 (frozen)
) -> list[Change]:
    """Ends a turn before its answer: failed or cancelled, with what there is of it.

    `turn` is as the rows have it now. What was committed in a transaction of whose outcome the
    caller never heard is found in the rows: such a call is closed already, such a text is there.
    """
    calls = await open_calls(tx, turn.id)
    kept = text if text is not None and await _is_new(tx, text) else None
    behind = 0
    if turn.position is not None:
        behind = await count_queued(tx, turn.conversation_id) - turn.position
    count = len(calls) + (kept is not None) + 1
    seq = await take_seqs(
        tx,
        turn.conversation_id,
        count + behind,
        messages=int(kept is not None),
        preview=kept.content if kept else "",
    )
    changes = await close_calls(tx, calls, seq=seq, status=status)
    if kept is not None:
        changes.append(
            await add_message(
                tx,
                conversation_id=turn.conversation_id,
                turn_id=turn.id,
                seq=seq + len(calls),
                role="assistant",
                content=kept.content,
                message_id=kept.message_id,
                status=status,
                metadata=kept.metadata,
            )
        )
    ended, _ = await end_turn(
        tx, turn, seq=seq + count - 1, status=status, error=error, spent=spent
    )
    changes.append(ended)
    if turn.position is not None:
        changes += await move_up(
            tx, turn.conversation_id, left=turn.position, first_seq=seq + count
        )
    return changes


async def _is_new(tx: Transaction, text: Text) -> bool:
    return bool(text.content.strip()) and not await message_exists(tx, text.message_id)


async def cancel(
    tx: Transaction, turn: Turn, *, live: LiveText | None = None
) -> tuple[list[Change], UUID | None]:
    """Cancels a turn that waits or runs: (what changed, the worker that has to be told).

    A turn that a worker holds is ended by that worker, which knows the text to the last letter;
    until then nothing else can become of it. Any other is ended here, and `live` is what is left
    of its text.
    """
    holder = await holder_of(tx, turn.id)
    if holder is None:
        return await end_early(tx, turn, "cancelled", text=_text_of(turn, live)), None
    await tx.execute(
        update(Row_)
        .where(Row_.id == turn.id)
        .values(cancel_requested_at=func.coalesce(Row_.cancel_requested_at, func.clock_timestamp()))
    )
    return [], holder


def _text_of(turn: Turn, live: LiveText | None) -> Text | None:
    if live is None or (live.turn_id, live.attempt) != (turn.id, turn.attempt):
        return None
    return Text(live.message_id, live.text)


async def is_being_cancelled(tx: Transaction, turn: Turn) -> bool:
    requested = select(Row_.cancel_requested_at.is_not(None)).where(Row_.id == turn.id)
    return bool(await tx.scalar(requested))


async def withdraw(tx: Transaction, turn: Turn) -> list[Change]:
    """Takes the messages of an ended turn out of the conversation."""
    stored = await messages_of_turn(tx, turn.conversation_id, turn.id)
    if not stored:
        return []
    seq = await take_seqs(tx, turn.conversation_id, len(stored))
    changes: list[Change] = []
    for index, message in enumerate(stored):
        await tx.execute(
            update(MessageRow)
            .where(MessageRow.id == message.id)
            .values(status="withdrawn", changed_seq=seq + index)
        )
        withdrawn = msgspec.structs.replace(message, status="withdrawn")
        changes.append(MessageUpdated(seq + index, withdrawn))
    await tx.execute(
        update(ConversationRow)
        .where(ConversationRow.id == turn.conversation_id)
        .values(message_count=ConversationRow.message_count - len(stored))
    )
    return changes


async def queue_again(tx: Transaction, turn: Turn, *, request_id: str | None = None) -> TurnUpdated:
    """An ended turn waits once more, with everything it wrote; its attempts go on counting."""
    position = await count_queued(tx, turn.conversation_id) + 1
    seq = await take_seqs(tx, turn.conversation_id, 1)
    row = await tx.first(
        update(Row_)
        .where(Row_.id == turn.id)
        .values(
            status="queued",
            position=position,
            error=None,
            started_at=None,
            first_token_at=None,
            finished_at=None,
            cancel_requested_at=None,
            crashes=0,
            model_errors=0,
            worked_seconds=0,
            request_id=request_id,
            queued_at=func.clock_timestamp(),
            changed_seq=seq,
        )
        .returning(*TURN_COLUMNS)
    )
    assert row is not None
    return TurnUpdated(seq, turn_of(row))
