"""The counter of a conversation's changes, and the row lock that puts them in order."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    bindparam,
    case,
    func,
    select,
    true,
    update,
)

from shared.db import Transaction
from shared.errors import LeaseLost
from shared.models import Conversation as Row_
from shared.statement import Statement
from shared.text import PREVIEW_CHARS, one_line

_LOCK = Statement(
    select(true())
    .select_from(Row_)
    .where(Row_.id == bindparam("conversation_id"), Row_.deleted_at.is_(None))
    .with_for_update()
)
_messages = bindparam("messages", type_=Integer)
_TAKE = Statement(
    update(Row_)
    .where(Row_.id == bindparam("conversation_id"), Row_.deleted_at.is_(None))
    .values(
        last_seq=Row_.last_seq + bindparam("count", type_=BigInteger),
        message_count=Row_.message_count + _messages,
        updated_at=case((_messages > 0, func.clock_timestamp()), else_=Row_.updated_at),
        last_message_preview=func.coalesce(
            bindparam("preview", type_=Text), Row_.last_message_preview
        ),
    )
    .returning(Row_.last_seq)
)


async def lock_conversation(tx: Transaction, conversation_id: UUID) -> bool:
    """Takes the row lock that orders all writers; False if it is deleted or unknown."""
    return bool(await tx.scalar(_LOCK, {"conversation_id": conversation_id}))


async def take_seqs(
    tx: Transaction, conversation_id: UUID, count: int, *, preview: str = "", messages: int = 0
) -> int:
    """Numbers `count` changes and returns the first number; holds the row lock from here on.

    With `messages` the conversation has that many more, the last of which reads `preview`.
    Raises LeaseLost if the conversation is gone: only workers come here after its deletion.
    """
    asked = {
        "conversation_id": conversation_id,
        "count": count,
        "messages": messages,
        "preview": one_line(preview, PREVIEW_CHARS) or None,
    }
    last: int | None = await tx.scalar(_TAKE, asked)
    if last is None:
        raise LeaseLost
    return last - count + 1
