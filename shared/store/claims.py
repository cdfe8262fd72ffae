"""Who runs a turn, and that only the holder writes.

A worker's lease is one row (`store/workers.py`); a turn names its holder. `(turn_id, attempt)` is
the fence: whoever lost the lease has an attempt that isn't the turn's any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.errors import CancelRequested, LeaseLost, OwnerAtLimit
from shared.events import Change, Turn, TurnUpdated
from shared.models import Message as MessageRow
from shared.models import Turn as Row_
from shared.models import Worker
from shared.store.sequence import lock_conversation, take_seqs
from shared.store.turns import ACTIVE, TURN_COLUMNS, count_queued, move_up, turn_of
from shared.store.usage import keep_usage

SUSPECT_CRASHES = 2
OWNERS = 1
"""The class of the advisory locks that stand for owners."""


class Claim(msgspec.Struct, frozen=True):
    """A turn at the head of its conversation, and what this worker has to know of it."""

    turn: Turn
    owner: str
    order: int
    """Its place among the conversation's turns: history is what came before."""
    queued_at: datetime
    request_id: str | None = None
    crashes: int = 0
    model_errors: int = 0
    worked_seconds: float = 0.0
    cancelled: bool = False
    """Somebody cancelled it and its holder is gone: not claimed, it only has to be ended."""
    changes: list[Change] = []

    @property
    def suspect(self) -> bool:
        """It may be what its workers died of."""
        return self.crashes >= SUSPECT_CRASHES


class Hold(msgspec.Struct, frozen=True):
    """The turn is ours and `seq` is the first of the numbers taken."""

    seq: int
    steered: bool
    """The user has said more than the model has read."""


def unheld() -> Any:
    """Of a running turn: its holder gave it back, or the holder's lease ran out."""
    alive = (
        select(Worker.id)
        .where(Worker.id == Row_.lease_owner, Worker.lease_until > func.clock_timestamp())
        .exists()
    )
    return and_(Row_.status == "running", ~alive)


def taken() -> Any:
    """Of a running turn: a worker has it, or had it until it died. Nobody has one that was given
    back or whose calls have been approved.
    """
    return and_(Row_.status == "running", Row_.lease_owner.is_not(None))


def due() -> Any:
    """Of a turn that was given back: its pause is over, or there is nothing to wait for."""
    return or_(
        Row_.run_after.is_(None),
        Row_.run_after <= func.clock_timestamp(),
        Row_.cancel_requested_at.is_not(None),
    )


async def claim(
    tx: Transaction,
    conversation_id: UUID,
    *,
    worker_id: UUID,
    model: str,
    suspects: bool = True,
    running_limit: int = 0,
) -> Claim | None:
    """Takes the conversation's head turn if nobody holds it; a new attempt begins.

    None is a normal answer: nothing waits, another worker was first, or it is a suspect and this
    worker asks for none. Raises OwnerAtLimit where it has to wait because workers have
    `running_limit` turns of its owner; 0 is no limit. The lock is a statement of its own, so that
    the next one sees what the last holder committed.
    """
    if not await lock_conversation(tx, conversation_id):
        return None
    found = await _claimable_head(tx, conversation_id)
    if found is None or (found.crashes >= SUSPECT_CRASHES and not suspects):
        return None
    claimed = Claim(
        turn=turn_of(found),
        owner=found.user_id,
        order=found.order,
        queued_at=found.queued_at,
        request_id=found.request_id,
        crashes=found.crashes,
        model_errors=found.model_errors,
        worked_seconds=found.worked_seconds,
        cancelled=found.cancel_requested_at is not None,
    )
    if claimed.cancelled:
        return claimed
    # Whoever takes over from a worker that died begins no further one.
    if running_limit and found.lease_owner is None:
        await _stay_within(tx, claimed.owner, running_limit)
    turn, changes = await _begin_attempt(tx, claimed, worker_id=worker_id, model=model)
    return msgspec.structs.replace(claimed, turn=turn, changes=changes)


async def _stay_within(tx: Transaction, owner: str, limit: int) -> None:
    """Looks before it takes the owner's lock, for at the limit nobody need stand in line, and again
    under the lock, where nobody else can begin one. Raises OwnerAtLimit.
    """
    running = select(func.count()).where(Row_.user_id == owner, taken())
    if await tx.scalar(running) < limit:
        await tx.execute(select(func.pg_advisory_xact_lock(OWNERS, func.hashtext(owner))))
        if await tx.scalar(running) < limit:
            return
    raise OwnerAtLimit(owner)


async def _claimable_head(tx: Transaction, conversation_id: UUID) -> Any:
    head = aliased(Row_)
    first = (
        select(head.id)
        .where(head.conversation_id == conversation_id, head.status.in_(ACTIVE))
        .order_by(head.seq)
        .limit(1)
        .scalar_subquery()
    )
    return await tx.first(
        select(
            *TURN_COLUMNS,
            Row_.seq.label("order"),
            Row_.user_id,
            (Row_.crashes + case((taken(), 1), else_=0)).label("crashes"),
            Row_.model_errors,
            Row_.worked_seconds,
            Row_.cancel_requested_at,
            Row_.lease_owner,
            Row_.queued_at,
            Row_.request_id,
        ).where(Row_.id == first, or_(Row_.status == "queued", and_(unheld(), due())))
    )


async def _begin_attempt(
    tx: Transaction, claimed: Claim, *, worker_id: UUID, model: str
) -> tuple[Turn, list[Change]]:
    conversation_id, queued = claimed.turn.conversation_id, claimed.turn.status == "queued"
    behind = await count_queued(tx, conversation_id) - 1 if queued else 0
    seq = await take_seqs(tx, conversation_id, 1 + behind)
    row = await tx.first(
        update(Row_)
        .where(Row_.id == claimed.turn.id)
        .values(
            status="running",
            attempt=Row_.attempt + 1,
            position=None,
            lease_owner=worker_id,
            run_after=None,
            crashes=claimed.crashes,
            model=model,
            started_at=func.coalesce(Row_.started_at, func.clock_timestamp()),
            changed_seq=seq,
        )
        .returning(*TURN_COLUMNS)
    )
    assert row is not None
    turn = turn_of(row)
    changes: list[Change] = [TurnUpdated(seq, turn)]
    if behind:
        changes += await move_up(tx, conversation_id, left=1, first_seq=seq + 1)
    return turn, changes


async def hold(
    tx: Transaction, turn: Turn, *, changes: int, read_to: int | None = None, **counted: Any
) -> Hold:
    """The fence: numbers `changes` changes if the turn is still ours and wanted.

    Raises LeaseLost if it isn't ours any more, CancelRequested if somebody cancelled it. With
    `read_to`, the number up to which the model has read, it also tells of messages said since.
    """
    seq = await take_seqs(tx, turn.conversation_id, changes, **counted)
    if await is_cancelled(tx, turn):
        raise CancelRequested
    return Hold(seq, read_to is not None and await _said_since(tx, turn, read_to))


async def is_cancelled(tx: Transaction, turn: Turn) -> bool:
    """Whether somebody asked to cancel a turn that we hold; LeaseLost if we don't hold it."""
    held = await tx.first(
        select(Row_.cancel_requested_at).where(
            Row_.id == turn.id, Row_.attempt == turn.attempt, Row_.status == "running"
        )
    )
    if held is None:
        raise LeaseLost
    return held.cancel_requested_at is not None


async def _said_since(tx: Transaction, turn: Turn, read_to: int) -> bool:
    said = select(MessageRow.id).where(
        MessageRow.conversation_id == turn.conversation_id,
        MessageRow.seq > read_to,
        MessageRow.turn_id == turn.id,
        MessageRow.role == "user",
    )
    return bool(await tx.scalar(select(said.exists())))


async def give_back(
    tx: Transaction,
    turn_id: UUID,
    attempt: int,
    *,
    worker_id: UUID,
    worked_seconds: float = 0.0,
    pause_seconds: float = 0.0,
    model_errors: int = 0,
    usage: dict[str, Any] | None = None,
) -> None:
    """The worker will not go on with it: after the pause the next claim need not wait for the
    lease. An attempt that is given back is none that crashed.
    """
    values: dict[str, Any] = {
        "lease_owner": None,
        "worked_seconds": Row_.worked_seconds + worked_seconds,
        "model_errors": Row_.model_errors + model_errors,
    }
    if pause_seconds:
        values["run_after"] = func.clock_timestamp() + timedelta(seconds=pause_seconds)
    given = await tx.first(
        update(Row_)
        .where(
            Row_.id == turn_id,
            Row_.attempt == attempt,
            Row_.lease_owner == worker_id,
            Row_.status == "running",
        )
        .values(values)
        .returning(Row_.id)
    )
    if usage and given is not None:
        await keep_usage(tx, turn_id, usage)


async def holder_of(tx: Transaction, turn_id: UUID) -> UUID | None:
    """The worker that runs the turn, if its lease holds."""
    holder: UUID | None = await tx.scalar(
        select(Row_.lease_owner)
        .join(Worker, Worker.id == Row_.lease_owner)
        .where(
            Row_.id == turn_id,
            Row_.status == "running",
            Worker.lease_until > func.clock_timestamp(),
        )
    )
    return holder
