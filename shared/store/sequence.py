"""The counter of a conversation's changes, and the row lock that puts them in order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select, update

from shared.db import Transaction
from shared.errors import LeaseLost
from shared.models import Conversation as Row_
from shared.text import PREVIEW_CHARS, one_line


async def lock_conversation(tx: Transaction, conversation_id: UUID) -> bool:
    """Takes the row lock that orders all writers; False if it is deleted or unknown."""
    return bool(
        await tx.scalar(
            select(literal(1))
            .select_from(Row_)
            .where(Row_.id == conversation_id, Row_.deleted_at.is_(None))
            .with_for_update()
        )
    )


async def take_seqs(
    tx: Transaction, conversation_id: UUID, count: int, *, preview: str = "", messages: int = 0
) -> int:
    """Numbers `count` changes and returns the first number; holds the row lock from here on.

    With `messages` the conversation has that many more, the last of which reads `preview`.
    Raises LeaseLost if the conversation is gone: only workers come here after its deletion.
    """
    values: dict[str, Any] = {"last_seq": Row_.last_seq + count}
    if messages:
        values["message_count"] = Row_.message_count + messages
        values["updated_at"] = func.clock_timestamp()
    if shown := one_line(preview, PREVIEW_CHARS):
        values["last_message_preview"] = shown
    last: int | None = await tx.scalar(
        update(Row_)
        .where(Row_.id == conversation_id, Row_.deleted_at.is_(None))
        .values(values)
        .returning(Row_.last_seq)
    )
    if last is None:
        raise LeaseLost
    return last - count + 1
