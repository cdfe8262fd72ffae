"""Tool calls that the owner has to approve: how a turn waits for that, and goes on.

While it waits nobody holds the turn, and it remains the head of its conversation. A decision is
written once. The caller holds the conversation's lock.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from shared.db import Transaction
from shared.events import Change, Message, MessageUpdated, Turn, TurnUpdated
from shared.ids import message_id_of_call
from shared.models import Approval
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.store.calls import drop_call
from shared.store.endings import Spent, keep_spent
from shared.store.messages import APPROVAL, MESSAGE_COLUMNS, STARTED_AT, message_of
from shared.store.sequence import take_seqs
from shared.store.turns import TURN_COLUMNS, turn_of

Decision = Literal["approve", "deny"]


async def pause_turn(
    tx: Transaction, turn: Turn, *, seq: int, worked_seconds: float, spent: Spent
) -> TurnUpdated:
    """The worker lets go of it: it goes on once every call is decided."""
    kept = await keep_spent(tx, turn.id, spent)
    row = await tx.first(
        update(TurnRow)
        .where(TurnRow.id == turn.id)
        .values(
            kept
            | {
                "status": "awaiting_approval",
                "lease_owner": None,
                "worked_seconds": TurnRow.worked_seconds + worked_seconds,
                "changed_seq": seq,
            }
        )
        .returning(*TURN_COLUMNS)
    )
    assert row is not None
    return TurnUpdated(seq, turn_of(row))


async def approved_calls(tx: Transaction, turn_id: UUID) -> set[str]:
    """Those that may run, begun or not."""
    rows = await tx.all(
        select(MessageRow.tool_call_id)
        .join(Approval, Approval.message_id == MessageRow.id)
        .where(MessageRow.turn_id == turn_id, Approval.decision == "approve")
    )
    return {row.tool_call_id for row in rows}


async def begin_call(tx: Transaction, tool_call_id: str, *, seq: int) -> MessageUpdated | None:
    """From here on it may have had an effect. None if it wasn't approved, or was begun before."""
    approved = (
        select(Approval.message_id)
        .where(Approval.message_id == MessageRow.id, Approval.decision == "approve")
        .exists()
    )
    now = func.jsonb_build_object(STARTED_AT, func.clock_timestamp())
    row = await tx.first(
        update(MessageRow)
        .where(
            MessageRow.id == message_id_of_call(tool_call_id),
            MessageRow.status == "awaiting_approval",
            approved,
        )
        .values(
            status="running",
            message_metadata=MessageRow.message_metadata.op("||")(now),
            changed_seq=seq,
        )
        .returning(*MESSAGE_COLUMNS)
    )
    return MessageUpdated(seq, message_of(row, {})) if row else None


async def find_call(tx: Transaction, turn: Turn, tool_call_id: str) -> Message | None:
    """The tool message of a call of the turn."""
    row = await tx.first(
        select(*MESSAGE_COLUMNS).where(
            MessageRow.conversation_id == turn.conversation_id,
            MessageRow.turn_id == turn.id,
            MessageRow.tool_call_id == tool_call_id,
            MessageRow.status != "withdrawn",
        )
    )
    return message_of(row, {}) if row else None


async def decision_on(tx: Transaction, call: Message) -> Decision | None:
    decision: Decision | None = await tx.scalar(
        select(Approval.decision).where(Approval.message_id == call.id)
    )
    return decision


async def decide(
    tx: Transaction, turn: Turn, call: Message, *, owner: str, decision: Decision, reason: str
) -> list[Change]:
    """Writes the decision on a call that awaits it; with the last one the turn goes on."""
    await tx.execute(
        insert(Approval).values(
            message_id=call.id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            user_id=owner,
            decision=decision,
            reason=reason,
        )
    )
    left = await _count_undecided(tx, turn.id)
    seq = await take_seqs(tx, turn.conversation_id, 1 if left else 2)
    changes: list[Change] = [await _mark(tx, call, decision, seq=seq, reason=reason)]
    if not left:
        changes.append(await _go_on(tx, turn, seq=seq + 1))
    return changes


async def _count_undecided(tx: Transaction, turn_id: UUID) -> int:
    decided = select(Approval.message_id).where(Approval.message_id == MessageRow.id).exists()
    count: int = await tx.scalar(
        select(func.count()).where(
            MessageRow.turn_id == turn_id, MessageRow.status == "awaiting_approval", ~decided
        )
    )
    return count


async def _mark(
    tx: Transaction, call: Message, decision: Decision, *, seq: int, reason: str
) -> MessageUpdated:
    """A call that was denied has its result at once; an approved one waits for a worker."""
    row = await tx.first(
        update(MessageRow)
        .where(MessageRow.id == call.id)
        .values(
            message_metadata=MessageRow.message_metadata.op("||")(
                literal({APPROVAL: decision}, JSONB)
            ),
            changed_seq=seq,
        )
        .returning(*MESSAGE_COLUMNS)
    )
    assert row is not None
    if decision == "approve":
        return MessageUpdated(seq, message_of(row, {}))
    assert call.tool_call_id is not None
    denied = await drop_call(tx, call.tool_call_id, seq=seq, status="failed", result=denial(reason))
    assert denied is not None
    return denied


def denial(reason: str) -> dict[str, Any]:
    """What the model reads of it."""
    error = {"code": "denied", "message": "The user did not approve this call; it did not run."}
    return {"error": error | ({"reason": reason} if reason else {})}


async def _go_on(tx: Transaction, turn: Turn, *, seq: int) -> TurnUpdated:
    """Running and held by nobody, as a turn that was given back: whoever comes first claims it,
    and no turn behind it has to move.
    """
    row = await tx.first(
        update(TurnRow)
        .where(TurnRow.id == turn.id, TurnRow.status == "awaiting_approval")
        .values(status="running", lease_owner=None, run_after=None, changed_seq=seq)
        .returning(*TURN_COLUMNS)
    )
    assert row is not None
    return TurnUpdated(seq, turn_of(row))
