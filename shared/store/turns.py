"""Turns: reading them, and the queue they wait in.

The lock order is always conversation, then turn: every change of a turn's state is made under
the row lock of its conversation. Times come from the database's clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Integer,
    Row,
    Uuid,
    all_,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
    update,
)

from shared.db import Transaction
from shared.events import Change, Turn, TurnError, TurnUpdated
from shared.models import Conversation as ConversationRow
from shared.models import Turn as Row_
from shared.statement import Statement

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


def turn_columns(entity: Any, prefix: str = "") -> list[Column[Any]]:
    return [getattr(entity, name).label(prefix + name) for name in _SHOWN]


def turn_of(row: Row[Any], prefix: str = "") -> Turn:
    values: dict[str, Any] = {name: getattr(row, prefix + name) for name in _SHOWN}
    values["seq"] = values.pop("changed_seq")
    if values["error"] is not None:
        values["error"] = msgspec.convert(values["error"], TurnError)
    return Turn(**values)


TURN_COLUMNS = turn_columns(Row_)
ACTIVE = ("queued", "running", "awaiting_approval")
"""They have not ended: the first of them is the head of the conversation."""


def among(column: Any, values: Collection[str]) -> ColumnElement[bool]:
    """Is one of these, written out: then a partial index over them can be used."""
    found: ColumnElement[bool] = column.in_([literal_column(f"'{value}'") for value in values])
    return found


WAITING = (
    select(func.count())
    .where(Row_.conversation_id == bindparam("conversation_id"), Row_.status == "queued")
    .scalar_subquery()
)
"""How many turns of the conversation wait."""
_ids = bindparam("ids", type_=ARRAY(Uuid()))
_placed = select(*TURN_COLUMNS, Row_.seq.label("place"))
_OF_PAGE = Statement(
    union_all(
        _placed.where(Row_.id == any_(_ids)),
        _placed.where(
            Row_.conversation_id == bindparam("conversation_id"),
            among(Row_.status, ACTIVE),
            Row_.id != all_(_ids),
        ),
    ).order_by("place")
)
_COUNT_QUEUED = Statement(select(WAITING))
_CHANGED_AFTER = Statement(
    select(*TURN_COLUMNS)
    .where(
        Row_.conversation_id == bindparam("conversation_id"),
        Row_.changed_seq > bindparam("since"),
    )
    .order_by(Row_.changed_seq)
    .limit(bindparam("limit", type_=Integer))
)


async def find_turn(tx: Transaction, turn_id: UUID, *, owner: str) -> Turn | None:
    row = await tx.first(
        select(*TURN_COLUMNS)
        .join(ConversationRow, ConversationRow.id == Row_.conversation_id)
        .where(Row_.id == turn_id, Row_.user_id == owner, ConversationRow.deleted_at.is_(None))
    )
    return turn_of(row) if row else None


async def turns_changed_after(
    tx: Transaction, conversation_id: UUID, *, since: int, limit: int
) -> list[Turn]:
    asked = {"conversation_id": conversation_id, "since": since, "limit": limit}
    rows = await tx.all(_CHANGED_AFTER, asked)
    return [turn_of(row) for row in rows]


async def turns_of_page(tx: Transaction, conversation_id: UUID, turn_ids: set[UUID]) -> list[Turn]:
    """These turns and whichever have not ended, in order."""
    asked = {"conversation_id": conversation_id, "ids": list(turn_ids)}
    rows = await tx.all(_OF_PAGE, asked)
    return [turn_of(row) for row in rows]


async def turns_between(
    tx: Transaction, conversation_id: UUID, *, after: int, last: int, limit: int
) -> list[tuple[int, Turn]]:
    """The first `limit` turns after the place `after`, up to `last`, each with its place."""
    rows = await tx.all(
        select(Row_.seq.label("place"), *TURN_COLUMNS)
        .where(Row_.conversation_id == conversation_id, Row_.seq > after, Row_.seq <= last)
        .order_by(Row_.seq)
        .limit(limit)
    )
    return [(row.place, turn_of(row)) for row in rows]


async def active_turns(tx: Transaction, conversation_id: UUID) -> list[Turn]:
    """Those that have not ended, the head first."""
    rows = await tx.all(
        select(*TURN_COLUMNS)
        .where(Row_.conversation_id == conversation_id, among(Row_.status, ACTIVE))
        .order_by(Row_.seq)
    )
    return [turn_of(row) for row in rows]


async def is_last(tx: Transaction, turn: Turn) -> bool:
    """No turn of the conversation came after it."""
    own = select(Row_.seq).where(Row_.id == turn.id).scalar_subquery()
    later = select(Row_.id).where(Row_.conversation_id == turn.conversation_id, Row_.seq > own)
    return not await tx.scalar(select(later.exists()))


async def count_queued(tx: Transaction, conversation_id: UUID) -> int:
    count: int = await tx.scalar(_COUNT_QUEUED, {"conversation_id": conversation_id})
    return count


async def move_up(
    tx: Transaction, conversation_id: UUID, *, left: int, first_seq: int
) -> list[Change]:
    """Whoever stood at position `left` has left the queue: those behind come one nearer, each a
    change of its own, numbered from `first_seq`.
    """
    rows = await tx.all(
        update(Row_)
        .where(
            Row_.conversation_id == conversation_id, Row_.status == "queued", Row_.position > left
        )
        .values(position=Row_.position - 1, changed_seq=Row_.position + (first_seq - left - 1))
        .returning(*TURN_COLUMNS)
    )
    moved = sorted((turn_of(row) for row in rows), key=lambda turn: turn.seq)
    return [TurnUpdated(turn.seq, turn) for turn in moved]
