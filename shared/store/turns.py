"""Turns: who runs them, and that only the holder writes.

The lock order is always conversation, then turn: every change of a turn's state is made under
the row lock of its conversation. Times come from the database's clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Column, Row, and_, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.errors import LeaseLost
from shared.events import Change, Turn, TurnError, TurnStatus, TurnUpdated
from shared.ids import new_id
from shared.models import Conversation as ConversationRow
from shared.models import Turn as Row_
from shared.models import Worker
from shared.store.sequence import lock_conversation, take_seqs

UNRUNG_AFTER = timedelta(seconds=1)
_SHOWN = (
    "id",
    "conversation_id",
    "user_message_id",
    "status",
    "attempt",
    "position",
    "error",
    "model",
    "usage",
    "changed_seq",
    "created_at",
    "started_at",
    "first_token_at",
    "finished_at",
)


class Claim(msgspec.Struct, frozen=True):
    """A turn this worker now holds, whose it is, and what the claim changed."""

    turn: Turn
    owner: str
    order: int
    """Its place among the conversation's turns: history is what came before."""
    changes: list[Change]


def turn_columns(entity: Any, prefix: str = "") -> list[Column[Any]]:
    return [getattr(entity, name).label(prefix + name) for name in _SHOWN]


def turn_of(row: Row[Any], prefix: str = "") -> Turn:
    values: dict[str, Any] = {name: getattr(row, prefix + name) for name in _SHOWN}
    values["seq"] = values.pop("changed_seq")
    if values["error"] is not None:
        values["error"] = msgspec.convert(values["error"], TurnError)
    return Turn(**values)


_COLUMNS = turn_columns(Row_)


async def queue_turn(
    tx: Transaction, *, conversation_id: UUID, owner: str, user_message_id: UUID, seq: int
) -> Turn:
    """Behind those that wait already. The caller holds the conversation's lock."""
    waiting = select(func.count()).where(
        Row_.conversation_id == conversation_id, Row_.status == "queued"
    )
    row = await tx.first(
        insert(Row_)
        .values(
            id=new_id(),
            conversation_id=conversation_id,
            user_id=owner,
            user_message_id=user_message_id,
            seq=seq,
            changed_seq=seq,
            status="queued",
            position=waiting.scalar_subquery() + 1,
        )
        .returning(*_COLUMNS)
    )
    assert row is not None
    return turn_of(row)


async def find_turn(tx: Transaction, turn_id: UUID, *, owner: str) -> Turn | None:
    row = await tx.first(
        select(*_COLUMNS)
        .join(ConversationRow, ConversationRow.id == Row_.conversation_id)
        .where(Row_.id == turn_id, Row_.user_id == owner, ConversationRow.deleted_at.is_(None))
    )
    return turn_of(row) if row else None


async def turns_changed_after(
    tx: Transaction, conversation_id: UUID, *, since: int, limit: int
) -> list[Turn]:
    rows = await tx.all(
        select(*_COLUMNS)
        .where(Row_.conversation_id == conversation_id, Row_.changed_seq > since)
        .order_by(Row_.changed_seq)
        .limit(limit)
    )
    return [turn_of(row) for row in rows]


async def turns_of_page(tx: Transaction, conversation_id: UUID, turn_ids: set[UUID]) -> list[Turn]:
    """These turns and whichever wait or run, in order."""
    shown = or_(Row_.id.in_(turn_ids), Row_.status.in_(("queued", "running")))
    rows = await tx.all(
        select(*_COLUMNS).where(Row_.conversation_id == conversation_id, shown).order_by(Row_.seq)
    )
    return [turn_of(row) for row in rows]


def _unheld() -> Any:
    """The holder gave it back, or its lease ran out."""
    alive = (
        select(Worker.id)
        .where(Worker.id == Row_.lease_owner, Worker.lease_until > func.clock_timestamp())
        .exists()
    )
    return and_(Row_.status == "running", ~alive)


async def claim(
    tx: Transaction, conversation_id: UUID, *, worker_id: UUID, model: str
) -> Claim | None:
    """Takes the conversation's head turn if nobody holds it; a new attempt begins.

    None is a normal answer: nothing waits, or another worker was first. The lock is a statement
    of its own, so that the next one sees what the last holder committed.
    """
    if not await lock_conversation(tx, conversation_id):
        return None
    head = aliased(Row_)
    first = (
        select(head.id)
        .where(head.conversation_id == conversation_id, head.status.in_(("queued", "running")))
        .order_by(head.seq)
        .limit(1)
        .scalar_subquery()
    )
    found = await tx.first(
        select(Row_.id, Row_.status, Row_.seq, Row_.user_id).where(
            Row_.id == first, or_(Row_.status == "queued", _unheld())
        )
    )
    if found is None:
        return None
    behind = await _count_queued(tx, conversation_id) - 1 if found.status == "queued" else 0
    seq = await take_seqs(tx, conversation_id, 1 + behind)
    row = await tx.first(
        update(Row_)
        .where(Row_.id == found.id)
        .values(
            status="running",
            attempt=Row_.attempt + 1,
            position=None,
            lease_owner=worker_id,
            model=model,
            started_at=func.coalesce(Row_.started_at, func.clock_timestamp()),
            changed_seq=seq,
        )
        .returning(*_COLUMNS)
    )
    assert row is not None
    turn = turn_of(row)
    moved = await _move_up(tx, conversation_id, first_seq=seq + 1) if behind else []
    return Claim(turn, found.user_id, found.seq, [TurnUpdated(seq, turn), *moved])


async def hold(tx: Transaction, turn: Turn, *, changes: int, **counted: Any) -> int:
    """The fence: numbers `changes` changes, or raises LeaseLost if the turn isn't ours any more."""
    seq = await take_seqs(tx, turn.conversation_id, changes, **counted)
    held = await tx.scalar(
        select(Row_.id).where(
            Row_.id == turn.id, Row_.attempt == turn.attempt, Row_.status == "running"
        )
    )
    if held is None:
        raise LeaseLost
    return seq


async def end_turn(
    tx: Transaction,
    turn: Turn,
    *,
    seq: int,
    status: TurnStatus,
    error: TurnError | None = None,
    usage: dict[str, Any] | None = None,
    first_token_ago: timedelta | None = None,
) -> TurnUpdated:
    """The terminal state, at `seq`. The caller holds the lock, has numbered `seq` and has given
    every tool call a result (`messages.close_calls`).
    """
    values: dict[str, Any] = {
        "status": status,
        "position": None,
        "lease_owner": None,
        "error": msgspec.to_builtins(error),
        "usage": usage,
        "finished_at": func.clock_timestamp(),
        "changed_seq": seq,
    }
    if first_token_ago is not None:
        values["first_token_at"] = func.clock_timestamp() - first_token_ago
    row = await tx.first(
        update(Row_)
        .where(Row_.id == turn.id, Row_.status.in_(("queued", "running")))
        .values(values)
        .returning(*_COLUMNS)
    )
    if row is None:
        raise LeaseLost
    return TurnUpdated(seq, turn_of(row))


async def _count_queued(tx: Transaction, conversation_id: UUID) -> int:
    count: int = await tx.scalar(
        select(func.count()).where(Row_.conversation_id == conversation_id, Row_.status == "queued")
    )
    return count


async def _move_up(tx: Transaction, conversation_id: UUID, *, first_seq: int) -> list[Change]:
    """The first of the queue has left it: the others come one nearer, each a change of its own."""
    rows = await tx.all(
        update(Row_)
        .where(Row_.conversation_id == conversation_id, Row_.status == "queued")
        .values(position=Row_.position - 1, changed_seq=Row_.position + (first_seq - 2))
        .returning(*_COLUMNS)
    )
    moved = sorted((turn_of(row) for row in rows), key=lambda turn: turn.seq)
    return [TurnUpdated(turn.seq, turn) for turn in moved]


async def active_turns(tx: Transaction, conversation_id: UUID) -> list[Turn]:
    rows = await tx.all(
        select(*_COLUMNS)
        .where(Row_.conversation_id == conversation_id, Row_.status.in_(("queued", "running")))
        .order_by(Row_.seq)
    )
    return [turn_of(row) for row in rows]


async def give_back(tx: Transaction, turn_id: UUID, attempt: int, *, worker_id: UUID) -> None:
    """The worker will not go on with it: the next claim need not wait for the lease."""
    await tx.execute(
        update(Row_)
        .where(
            Row_.id == turn_id,
            Row_.attempt == attempt,
            Row_.lease_owner == worker_id,
            Row_.status == "running",
        )
        .values(lease_owner=None)
    )


async def conversations_to_run(tx: Transaction, *, limit: int) -> list[UUID]:
    """Where a turn waits that nobody rang for or that nobody holds, longest waiting first."""
    other = aliased(Row_)
    busy = (
        select(other.id)
        .where(other.conversation_id == Row_.conversation_id, other.status == "running")
        .exists()
    )
    unrung = and_(
        Row_.status == "queued",
        Row_.position == 1,
        Row_.created_at < func.clock_timestamp() - UNRUNG_AFTER,
        ~busy,
    )
    rows = await tx.all(
        select(Row_.conversation_id)
        .where(Row_.status.in_(("queued", "running")), or_(unrung, _unheld()))
        .order_by(Row_.created_at)
        .limit(limit)
    )
    return [row.conversation_id for row in rows]
