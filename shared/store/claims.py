"""Who runs a turn. A worker's lease is one row (`store/workers.py`); a turn names its holder."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    case,
    false,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.errors import OwnerAtLimit
from shared.events import Change, Turn, TurnUpdated
from shared.models import Conversation as ConversationRow
from shared.models import Turn as Row_
from shared.models import Worker
from shared.statement import Statement
from shared.store.sequence import lock_conversation
from shared.store.turns import ACTIVE, TURN_COLUMNS, WAITING, among, move_up, turn_of
from shared.store.usage import keep_usage

SUSPECT_CRASHES = 2
OWNERS = 1
"""The class of the advisory locks that stand for owners."""
Cause = Literal["new", "retried", "takeover", "resumed"]
"""Why an attempt begins: the turn waited, for the first time or again; its worker died; its worker
gave it back, or its owner has decided on a call.
"""


class Claim(msgspec.Struct, frozen=True):
    """A turn at the head of its conversation, and what this worker has to know of it."""

    turn: Turn
    owner: str
    order: int
    """Its place among the conversation's turns: history is what came before."""
    queued_at: datetime
    request_id: str | None = None
    traceparent: str | None = None
    cause: Cause = "new"
    crashes: int = 0
    model_errors: int = 0
    worked_seconds: float = 0.0
    cancelled: bool = False
    """Somebody cancelled it and its holder is gone: not claimed, it only has to be ended."""
    changes: list[Change] = []

    @property
    def waited(self) -> bool:
        """In the queue, and not for somebody who had begun."""
        return self.cause in ("new", "retried")

    @property
    def suspect(self) -> bool:
        """It may be what its workers died of."""
        return self.crashes >= SUSPECT_CRASHES


def unheld() -> Any:
    """Of a running turn: its holder gave it back, or the holder's lease ran out."""
    alive = (
        select(Worker.id)
        .where(Worker.id == Row_.lease_owner, Worker.lease_until > func.clock_timestamp())
        .exists()
    )
    return and_(Row_.status == "running", ~alive)


def taken(entity: Any = Row_) -> Any:
    """Of a running turn: a worker has it, or had it until it died. Nobody has one that was given
    back or whose calls have been approved.
    """
    return and_(entity.status == "running", entity.lease_owner.is_not(None))


def due(entity: Any = Row_) -> Any:
    """Of a turn that was given back: its pause is over, or there is nothing to wait for."""
    return or_(
        entity.run_after.is_(None),
        entity.run_after <= func.clock_timestamp(),
        entity.cancel_requested_at.is_not(None),
    )


_others = aliased(Row_)
_running = (
    select(func.count())
    .where(_others.user_id == Row_.user_id, taken(_others))
    .correlate(Row_)
    .scalar_subquery()
)
_limit = bindparam("running_limit", type_=Integer)
# Whoever takes over from a worker that died begins no further one.
_limited = and_(_limit > 0, Row_.lease_owner.is_(None))
_owners_lock = func.pg_advisory_xact_lock(OWNERS, func.hashtext(Row_.user_id))
_head = aliased(Row_)
# The owner's lock comes after a look, for at the limit nobody need stand in line.
_HEAD = Statement(
    select(
        *TURN_COLUMNS,
        Row_.seq.label("order"),
        Row_.user_id,
        (Row_.crashes + case((taken(), 1), else_=0)).label("crashes"),
        Row_.model_errors,
        Row_.worked_seconds,
        Row_.cancel_requested_at,
        Row_.queued_at,
        Row_.request_id,
        Row_.traceparent,
        Row_.lease_owner,
        case(
            (_limited & (_running >= _limit), true()),
            (_limited, _owners_lock.is_(None)),
            else_=false(),
        ).label("at_limit"),
        case((Row_.status == "queued", WAITING - 1), else_=0).label("behind"),
        select(Worker.id)
        .where(Worker.id == bindparam("worker_id"), Worker.lease_until > func.clock_timestamp())
        .exists()
        .label("leased"),
    ).where(
        Row_.id
        == select(_head.id)
        .where(_head.conversation_id == bindparam("conversation_id"), among(_head.status, ACTIVE))
        .order_by(_head.seq)
        .limit(1)
        .scalar_subquery(),
        or_(Row_.status == "queued", and_(unheld(), due())),
    )
)
_numbered = (
    update(ConversationRow)
    .where(ConversationRow.id == bindparam("conversation_id"))
    .values(last_seq=ConversationRow.last_seq + 1 + bindparam("behind", type_=Integer))
    .returning(ConversationRow.last_seq)
    .cte("numbered")
)
# Under the owner's lock, where nobody else can begin one, it counts again.
_BEGIN = Statement(
    update(Row_)
    .where(Row_.id == bindparam("turn_id"), or_(not_(_limited), _running < _limit))
    .values(
        status="running",
        attempt=Row_.attempt + 1,
        position=None,
        lease_owner=bindparam("worker_id"),
        run_after=None,
        crashes=bindparam("crashes"),
        model=bindparam("model"),
        started_at=func.coalesce(Row_.started_at, func.clock_timestamp()),
        changed_seq=select(
            _numbered.c.last_seq - bindparam("behind", type_=Integer)
        ).scalar_subquery(),
    )
    .returning(*TURN_COLUMNS)
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

    None is a normal answer: nothing waits, another worker was first, it is a suspect and this
    worker asks for none, or its own lease has run out, so that it would hold nothing. Raises
    OwnerAtLimit where it has to wait because workers have `running_limit` turns of its owner; 0 is
    no limit. The lock is a statement of its own, so that the next one sees what the last holder
    committed.
    """
    if not await lock_conversation(tx, conversation_id):
        return None
    asked = {
        "conversation_id": conversation_id,
        "running_limit": running_limit,
        "worker_id": worker_id,
    }
    found = await tx.first(_HEAD, asked)
    if found is None or (found.crashes >= SUSPECT_CRASHES and not suspects):
        return None
    claimed = Claim(
        turn=turn_of(found),
        owner=found.user_id,
        order=found.order,
        queued_at=found.queued_at,
        request_id=found.request_id,
        traceparent=found.traceparent,
        cause=_cause(found.status, found.attempt, held=found.lease_owner is not None),
        crashes=found.crashes,
        model_errors=found.model_errors,
        worked_seconds=found.worked_seconds,
        cancelled=found.cancel_requested_at is not None,
    )
    if claimed.cancelled:
        return claimed
    if not found.leased:
        return None
    begin = {
        "turn_id": claimed.turn.id,
        "crashes": claimed.crashes,
        "model": model,
        "behind": found.behind,
    }
    row = None if found.at_limit else await tx.first(_BEGIN, asked | begin)
    if row is None:
        raise OwnerAtLimit(claimed.owner)
    turn = turn_of(row)
    changes: list[Change] = [TurnUpdated(turn.seq, turn)]
    if found.behind:
        changes += await move_up(tx, conversation_id, left=1, first_seq=turn.seq + 1)
    return msgspec.structs.replace(claimed, turn=turn, changes=changes)


def _cause(status: str, attempt: int, *, held: bool) -> Cause:
    if status == "queued":
        return "retried" if attempt else "new"
    return "takeover" if held else "resumed"


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
