"""Only the holder of a turn writes. `(turn_id, attempt)` is the fence: whoever lost the lease has
an attempt that isn't the turn's any more.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, select
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.errors import CancelRequested, LeaseLost
from shared.events import Turn
from shared.models import Message as MessageRow
from shared.models import Turn as Row_
from shared.statement import Statement
from shared.store.sequence import take_seqs


class Hold(msgspec.Struct, frozen=True):
    """The turn is ours and `seq` is the first of the numbers taken."""

    seq: int
    steered: bool
    """The user has said more than the model has read."""


_said = aliased(MessageRow)
_HELD = Statement(
    select(
        Row_.cancel_requested_at,
        select(_said.id)
        .where(
            _said.conversation_id == Row_.conversation_id,
            _said.turn_id == Row_.id,
            _said.role == "user",
            _said.seq > bindparam("read_to", type_=BigInteger),
        )
        .exists()
        .label("steered"),
    ).where(
        Row_.id == bindparam("turn_id"),
        Row_.attempt == bindparam("attempt"),
        Row_.status == "running",
    )
)


async def hold(
    tx: Transaction, turn: Turn, *, changes: int, read_to: int | None = None, **counted: Any
) -> Hold:
    """The fence: numbers `changes` changes if the turn is still ours and wanted.

    Raises LeaseLost if it isn't ours any more, CancelRequested if somebody cancelled it. With
    `read_to`, the number up to which the model has read, it also tells of messages said since.
    """
    seq = await take_seqs(tx, turn.conversation_id, changes, **counted)
    held = await _held(tx, turn, read_to)
    if held.cancel_requested_at is not None:
        raise CancelRequested
    return Hold(seq, held.steered)


async def is_cancelled(tx: Transaction, turn: Turn) -> bool:
    """Whether somebody asked to cancel a turn that we hold; LeaseLost if we don't hold it."""
    return (await _held(tx, turn)).cancel_requested_at is not None


async def _held(tx: Transaction, turn: Turn, read_to: int | None = None) -> Any:
    asked = {"turn_id": turn.id, "attempt": turn.attempt, "read_to": read_to}
    held = await tx.first(_HELD, asked)
    if held is None:
        raise LeaseLost
    return held
