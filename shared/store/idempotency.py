"""Idempotency keys: what was answered to a request that may come a second time.

A key is claimed in the transaction that does the work, and before its conversation is locked: who
comes second waits for the first's commit and finds the answer, or, if the first failed, nothing.
Only the deletion of a conversation comes the other way round. It touches answers that still stand,
and whoever locks one of those reads it and goes, without waiting for the conversation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from shared.account_models import IdempotencyKey as Row_
from shared.db import Transaction

KEPT_FOR = timedelta(hours=24)
FORGOTTEN_AT_ONCE = 1000


class Kept(msgspec.Struct, frozen=True):
    """An earlier request and its answer; no answer where the conversation was deleted since."""

    request_hash: bytes
    answer: dict[str, Any] | None


def _this(owner: str, key: str) -> ColumnElement[bool]:
    return (Row_.user_id == owner) & (Row_.key == key)


def _expired() -> ColumnElement[bool]:
    return Row_.created_at < func.clock_timestamp() - KEPT_FOR


async def claim_key(tx: Transaction, key: str, *, owner: str, request_hash: bytes) -> Kept | None:
    """None if the key is new or expired: it is ours then, if this transaction commits."""
    anew = {
        "request_hash": request_hash,
        "conversation_id": None,
        "answer": None,
        "created_at": func.clock_timestamp(),
    }
    claimed = await tx.first(
        insert(Row_)
        .values(user_id=owner, key=key, request_hash=request_hash)
        .on_conflict_do_update(index_elements=[Row_.user_id, Row_.key], set_=anew, where=_expired())
        .returning(Row_.key)
    )
    if claimed is not None:
        return None
    # The conflict has locked the row: what it said then, it says still.
    row = await tx.first(select(Row_.request_hash, Row_.answer).where(_this(owner, key)))
    assert row is not None
    return Kept(*row)


async def keep_answer(
    tx: Transaction, key: str, *, owner: str, conversation_id: UUID, answer: dict[str, Any]
) -> None:
    await tx.execute(
        update(Row_).where(_this(owner, key)).values(conversation_id=conversation_id, answer=answer)
    )


async def forget_answers(tx: Transaction, conversation_id: UUID) -> None:
    """Their text goes with the conversation. The keys stay: nothing is made a second time."""
    await tx.execute(
        update(Row_).where(Row_.conversation_id == conversation_id, ~_expired()).values(answer=None)
    )


async def forget_old(tx: Transaction) -> None:
    """Deletes expired keys, a bounded number of them, and waits for nobody."""
    old = (
        select(Row_.user_id, Row_.key)
        .where(_expired())
        .order_by(Row_.created_at)
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await tx.execute(delete(Row_).where(tuple_(Row_.user_id, Row_.key).in_(old)))
