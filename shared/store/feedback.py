"""What owners think of answers: a thumb and a comment, at most once a message.

No change of the conversation: it takes no number, and nobody who follows is told.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from shared.db import Transaction
from shared.models import Conversation as ConversationRow
from shared.models import Feedback as Row_
from shared.models import Message as MessageRow

Rating = Literal["up", "down"]


class Feedback(msgspec.Struct, frozen=True):
    message_id: UUID
    conversation_id: UUID
    rating: Rating
    comment: str
    created_at: datetime
    updated_at: datetime


class Rated(msgspec.Struct, frozen=True):
    """A message that somebody wants to rate."""

    id: UUID
    conversation_id: UUID
    is_answer: bool
    """The assistant said it, and it was not withdrawn."""


_COLUMNS = (
    Row_.message_id,
    Row_.conversation_id,
    Row_.rating,
    Row_.comment,
    Row_.created_at,
    Row_.updated_at,
)


def _feedback(row: Row[Any]) -> Feedback:
    return Feedback(**{name: getattr(row, name) for name in Feedback.__struct_fields__})


async def find_rated(tx: Transaction, message_id: UUID, *, owner: str) -> Rated | None:
    """None if it isn't the owner's. Its conversation stays until the transaction ends."""
    row = await tx.first(
        select(MessageRow.conversation_id, MessageRow.role, MessageRow.status)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
        .where(
            MessageRow.id == message_id,
            ConversationRow.user_id == owner,
            ConversationRow.deleted_at.is_(None),
        )
        .with_for_update(key_share=True, read=True, of=ConversationRow)
    )
    if row is None:
        return None
    is_answer = row.role == "assistant" and row.status != "withdrawn"
    return Rated(message_id, row.conversation_id, is_answer)


async def rate(
    tx: Transaction, rated: Rated, *, owner: str, rating: Rating, comment: str
) -> Feedback:
    """In place of what the owner thought before."""
    row = await tx.first(
        insert(Row_)
        .values(
            message_id=rated.id,
            conversation_id=rated.conversation_id,
            user_id=owner,
            rating=rating,
            comment=comment,
        )
        .on_conflict_do_update(
            index_elements=[Row_.message_id],
            set_={"rating": rating, "comment": comment, "updated_at": func.clock_timestamp()},
        )
        .returning(*_COLUMNS)
    )
    assert row is not None
    return _feedback(row)


async def unrate(tx: Transaction, rated: Rated) -> None:
    await tx.execute(delete(Row_).where(Row_.message_id == rated.id))


async def list_feedback(
    tx: Transaction,
    conversation_id: UUID,
    *,
    limit: int,
    after: int = 0,
) -> list[tuple[int, Feedback]]:
    """In the order of the messages, each with its message's `seq`, from behind the seq `after`.

    One more than `limit` if there is. The caller has checked whose conversation it is.
    """
    query = (
        select(*_COLUMNS, MessageRow.seq)
        .join(MessageRow, MessageRow.id == Row_.message_id)
        .where(
            Row_.conversation_id == conversation_id,
            MessageRow.status != "withdrawn",
            MessageRow.seq > after,
        )
        .order_by(MessageRow.seq)
        .limit(limit + 1)
    )
    return [(row.seq, _feedback(row)) for row in await tx.all(query)]
