"""Conversations: the row that owns the order of everything in it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    Row,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    func,
    literal,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.events import Conversation, ConversationUpdated
from shared.ids import new_id
from shared.models import Conversation as Row_
from shared.models import Turn as TurnRow
from shared.statement import Statement
from shared.store.sequence import lock_conversation, take_seqs
from shared.store.turns import ACTIVE, among, turn_columns, turn_of
from shared.text import AUTO_TITLE_CHARS, PREVIEW_CHARS, one_line

_active = aliased(
    TurnRow,
    select(TurnRow)
    .where(TurnRow.conversation_id == Row_.id, among(TurnRow.status, ACTIVE))
    .order_by(TurnRow.seq)
    .limit(1)
    .correlate(Row_)
    .lateral("active_turn"),
)


_owned = (Row_.user_id == bindparam("owner"), Row_.deleted_at.is_(None))
_this = (Row_.id == bindparam("conversation_id"), *_owned)
_shown = (
    select(
        Row_.id,
        Row_.title,
        Row_.created_at,
        Row_.updated_at,
        Row_.message_count,
        Row_.last_message_preview,
        Row_.last_seq,
        *turn_columns(_active, prefix="turn_"),
    )
    .select_from(Row_)
    .outerjoin(_active, true())
)
_FIND = Statement(_shown.where(*_this))
_newest = (
    _shown.where(*_owned)
    .order_by(Row_.updated_at.desc(), Row_.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_NEWEST = Statement(_newest)
_NEXT = Statement(
    _newest.where(
        tuple_(Row_.updated_at, Row_.id) < tuple_(bindparam("updated_at"), bindparam("id"))
    )
)
_LAST_SEQ = Statement(select(Row_.last_seq).where(*_this))
_untitled = (Row_.message_count == 0) & Row_.named.is_(False)
_SUBMIT = Statement(
    update(Row_)
    .where(*_this)
    .values(
        last_seq=Row_.last_seq + case((_untitled, 3), else_=2),
        title=case((_untitled, bindparam("title", type_=Text)), else_=Row_.title),
        changed_seq=case((_untitled, Row_.last_seq + 3), else_=Row_.changed_seq),
        message_count=Row_.message_count + 1,
        last_message_preview=bindparam("preview"),
        updated_at=func.clock_timestamp(),
    )
    .returning(Row_.last_seq, Row_.changed_seq)
)
_CHANGED_SEQ = Statement(
    select(Row_.changed_seq).where(
        Row_.id == bindparam("conversation_id"), Row_.changed_seq > bindparam("since")
    )
)


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        id=row.id,
        title=row.title,
        created_at=row.created_at,
        updated_at=row.updated_at,
        message_count=row.message_count,
        last_message_preview=row.last_message_preview,
        seq=row.last_seq,
        active_turn=turn_of(row, prefix="turn_") if row.turn_id is not None else None,
    )


async def create_conversation(
    tx: Transaction, *, owner: str, title: str | None = None
) -> Conversation:
    """A title that is given is the user's and stays; otherwise it is the date for now."""
    stamp = func.to_char(func.timezone("UTC", func.now()), "YYYY-MM-DD HH24:MI")
    conversation_id = new_id()
    await tx.execute(
        insert(Row_).values(
            id=conversation_id,
            user_id=owner,
            title=title if title is not None else literal("Chat - ").concat(stamp),
            named=title is not None,
        )
    )
    created = await find_conversation(tx, conversation_id, owner=owner)
    assert created is not None
    return created


async def find_conversation(
    tx: Transaction, conversation_id: UUID, *, owner: str
) -> Conversation | None:
    row = await tx.first(_FIND, {"conversation_id": conversation_id, "owner": owner})
    return _conversation(row) if row else None


async def get_or_create_conversation(
    tx: Transaction, *, owner: str, conversation_id: UUID | None = None
) -> Conversation | None:
    """The owner's conversation of that id, a new one if no id is given, None if it isn't theirs."""
    if conversation_id is None:
        return await create_conversation(tx, owner=owner)
    return await find_conversation(tx, conversation_id, owner=owner)


async def last_seq(tx: Transaction, conversation_id: UUID, *, owner: str) -> int | None:
    """The number of the conversation's last change; None if it isn't the owner's."""
    asked = {"conversation_id": conversation_id, "owner": owner}
    seq: int | None = await tx.scalar(_LAST_SEQ, asked)
    return seq


async def last_seqs(tx: Transaction, ids: Collection[UUID]) -> dict[UUID, int]:
    """The number of the last change of each, whoever owns it; deleted ones are left out."""
    query = select(Row_.id, Row_.last_seq).where(
        Row_.id == any_(literal(list(ids), ARRAY(Uuid()))), Row_.deleted_at.is_(None)
    )
    return {row.id: row.last_seq for row in await tx.all(query)}


async def list_conversations(
    tx: Transaction, *, owner: str, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[Conversation]:
    """Newest change first, from just behind the key `after`; one more than `limit` if there is."""
    asked: dict[str, Any] = {"owner": owner, "limit": limit + 1}
    if after is None:
        rows = await tx.all(_NEWEST, asked)
    else:
        rows = await tx.all(_NEXT, asked | {"updated_at": after[0], "id": after[1]})
    return [_conversation(row) for row in rows]


async def lock_owned(tx: Transaction, conversation_id: UUID, *, owner: str) -> bool:
    if await last_seq(tx, conversation_id, owner=owner) is None:
        return False
    return await lock_conversation(tx, conversation_id)


async def take_seqs_for_submission(
    tx: Transaction, conversation_id: UUID, *, owner: str, content: str
) -> tuple[int, bool] | None:
    """Numbers a user message and its turn: (the first number, whether the title changed too).

    The first message of a conversation the user has not named gives it its title; that change
    takes the number after the turn's. None if the conversation isn't the owner's.
    """
    row = await tx.first(
        _SUBMIT,
        {
            "conversation_id": conversation_id,
            "owner": owner,
            "title": one_line(content, AUTO_TITLE_CHARS),
            "preview": one_line(content, PREVIEW_CHARS),
        },
    )
    if row is None:
        return None
    titled = row.changed_seq == row.last_seq
    return row.last_seq - (2 if titled else 1), titled


async def rename_conversation(
    tx: Transaction, conversation_id: UUID, *, owner: str, title: str
) -> ConversationUpdated | None:
    seq: int | None = await tx.scalar(
        update(Row_)
        .where(Row_.id == conversation_id, Row_.user_id == owner, Row_.deleted_at.is_(None))
        .values(
            title=title,
            named=True,
            last_seq=Row_.last_seq + 1,
            changed_seq=Row_.last_seq + 1,
            updated_at=func.clock_timestamp(),
        )
        .returning(Row_.last_seq)
    )
    if seq is None:
        return None
    renamed = await find_conversation(tx, conversation_id, owner=owner)
    assert renamed is not None
    return ConversationUpdated(seq, renamed)


async def delete_conversation(
    tx: Transaction, conversation_id: UUID, *, owner: str
) -> ConversationUpdated:
    """Soft: the rows stay and nothing shows them. End its turns first."""
    seq = await take_seqs(tx, conversation_id, 1)
    deleted = await find_conversation(tx, conversation_id, owner=owner)
    assert deleted is not None
    await tx.execute(
        update(Row_)
        .where(Row_.id == conversation_id)
        .values(deleted_at=func.now(), changed_seq=seq, updated_at=func.clock_timestamp())
    )
    return ConversationUpdated(seq, deleted)


async def renamed_after(
    tx: Transaction, conversation_id: UUID, *, owner: str, since: int
) -> ConversationUpdated | None:
    """The conversation's own change, if it came after `since`."""
    asked = {"conversation_id": conversation_id, "since": since}
    changed: int | None = await tx.scalar(_CHANGED_SEQ, asked)
    if changed is None:
        return None
    conversation = await find_conversation(tx, conversation_id, owner=owner)
    return ConversationUpdated(changed, conversation) if conversation else None
