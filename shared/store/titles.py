"""Titles that the model thinks of: where one is due, and giving it."""

from __future__ import annotations

from uuid import UUID

import msgspec
from sqlalchemy import func, select, update

from shared.db import Transaction
from shared.events import ConversationUpdated
from shared.models import Conversation as Row_
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.store.conversations import find_conversation
from shared.store.messages import last_answer
from shared.store.sequence import lock_conversation, take_seqs
from shared.text import AUTO_TITLE_CHARS, one_line


class Untitled(msgspec.Struct, frozen=True):
    """A conversation with one answer and the title that its first message gave it."""

    title: str
    question: str
    answer: str


async def find_untitled(
    tx: Transaction, conversation_id: UUID, turn_id: UUID, *, owner: str
) -> Untitled | None:
    """None unless `turn_id` is its first completed turn and nobody has touched its title."""
    row = await tx.first(
        select(Row_.title, Row_.named).where(
            Row_.id == conversation_id, Row_.user_id == owner, Row_.deleted_at.is_(None)
        )
    )
    if row is None or row.named:
        return None
    said: str | None = await tx.scalar(
        select(MessageRow.content)
        .where(MessageRow.conversation_id == conversation_id)
        .order_by(MessageRow.seq)
        .limit(1)
    )
    completed = await tx.scalar(
        select(func.count()).where(
            TurnRow.conversation_id == conversation_id, TurnRow.status == "completed"
        )
    )
    answer = await last_answer(tx, conversation_id, turn_id)
    automatic = said is not None and row.title == one_line(said, AUTO_TITLE_CHARS)
    if said is None or answer is None or completed != 1 or not automatic:
        return None
    return Untitled(row.title, said, answer.content)


async def give_title(
    tx: Transaction, conversation_id: UUID, *, owner: str, before: str, title: str
) -> ConversationUpdated | None:
    """In place of the title `before`; None where the user has said otherwise meanwhile, or the
    conversation is deleted. It doesn't move in the list: nothing was said in it.
    """
    if not await lock_conversation(tx, conversation_id):
        return None
    untouched = select(Row_.id).where(
        Row_.id == conversation_id, Row_.named.is_(False), Row_.title == before
    )
    if await tx.scalar(untouched) is None:
        return None
    seq = await take_seqs(tx, conversation_id, 1)
    await tx.execute(
        update(Row_).where(Row_.id == conversation_id).values(title=title, changed_seq=seq)
    )
    conversation = await find_conversation(tx, conversation_id, owner=owner)
    assert conversation is not None
    return ConversationUpdated(seq, conversation)
