"""Every row there is of some owners, for `parley verify` to judge. No service calls this.

Nothing is left out: not what was deleted, not what was withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select

from shared.db import Transaction
from shared.models import Conversation, Message, Task, Turn
from shared.store.turns import ACTIVE


class ConversationRow(msgspec.Struct, frozen=True):
    id: UUID
    user_id: str
    last_seq: int
    changed_seq: int
    message_count: int


class TurnRow(msgspec.Struct, frozen=True):
    id: UUID
    conversation_id: UUID
    user_id: str
    user_message_id: UUID
    seq: int
    changed_seq: int
    status: str
    attempt: int
    position: int | None
    error: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


class MessageRow(msgspec.Struct, frozen=True):
    id: UUID
    conversation_id: UUID
    turn_id: UUID | None
    seq: int
    changed_seq: int
    role: str
    content: str
    status: str
    tool_calls: list[dict[str, Any]] | None
    tool_call_id: str | None


class TaskRow(msgspec.Struct, frozen=True):
    id: UUID
    user_id: str
    title: str


async def conversations_of(tx: Transaction, owners: Collection[str]) -> list[ConversationRow]:
    query = select(*_columns(ConversationRow, Conversation)).where(Conversation.user_id.in_(owners))
    return [ConversationRow(*row) for row in await tx.all(query.order_by(Conversation.id))]


async def turns_of(tx: Transaction, owners: Collection[str]) -> list[TurnRow]:
    """In the order in which those of a conversation were accepted."""
    query = (
        select(*_columns(TurnRow, Turn))
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .where(Conversation.user_id.in_(owners))
        .order_by(Turn.conversation_id, Turn.seq)
    )
    return [TurnRow(*row) for row in await tx.all(query)]


async def messages_of(tx: Transaction, owners: Collection[str]) -> list[MessageRow]:
    """In the order in which those of a conversation were written."""
    query = (
        select(*_columns(MessageRow, Message))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Conversation.user_id.in_(owners))
        .order_by(Message.conversation_id, Message.seq)
    )
    return [MessageRow(*row) for row in await tx.all(query)]


async def tasks_of(tx: Transaction, owners: Collection[str]) -> list[TaskRow]:
    query = select(*_columns(TaskRow, Task)).where(Task.user_id.in_(owners)).order_by(Task.id)
    return [TaskRow(*row) for row in await tx.all(query)]


async def count_active(tx: Transaction, owners: Collection[str]) -> int:
    """Turns that have not ended."""
    count: int = await tx.scalar(
        select(func.count())
        .select_from(Turn)
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .where(Conversation.user_id.in_(owners), Turn.status.in_(ACTIVE))
    )
    return count


def _columns(shown: type[msgspec.Struct], table: type[Any]) -> list[Any]:
    return [getattr(table, name) for name in shown.__struct_fields__]
