"""Deletion for good: of conversations that were deleted long ago, and of all that is somebody's.

What a client deletes is only hidden (`conversations.delete_conversation`). Here rows go, those
that refer to others first, in small steps under the conversation's lock: a worker that still works
on it finds nothing to write to (LeaseLost). Meant for transactions on behalf of nobody in
particular.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CursorResult,
    Uuid,
    any_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from shared.account_models import BrowserSession, IdempotencyKey, StreamTicket, TokenUsage
from shared.db import Transaction
from shared.events import Change
from shared.models import Approval, Base, Conversation, Feedback, Message, Task, Turn, Worker
from shared.publisher import LIVE_TEXT_TTL_SECONDS
from shared.store.endings import cancel
from shared.store.idempotency import KEPT_FOR
from shared.store.sequence import lock_conversation
from shared.store.turns import active_turns

MESSAGES_AT_ONCE = 1000
FORGOTTEN_AT_ONCE = 1000
LATELY = timedelta(seconds=LIVE_TEXT_TTL_SECONDS)
USAGE_KEPT_FOR = timedelta(days=40)
OWNED = (Task, IdempotencyKey, TokenUsage, BrowserSession, StreamTicket)
"""What somebody has beside conversations; what is in those goes with them."""

Counts = Counter[str]
"""Rows of each table."""


class Stopped(msgspec.Struct, frozen=True):
    """Of a conversation: the workers that run a turn of it, and whether there is one, or was
    lately, that may still write text because it doesn't know better.
    """

    holders: list[UUID] = []
    left: bool = False


async def next_to_purge(
    tx: Transaction, *, retention: timedelta, but: Collection[UUID] = ()
) -> UUID | None:
    """The conversation that was deleted first, if that is longer ago; it is locked. One that
    somebody else purges is passed over, and so are those of `but`.
    """
    found: UUID | None = await tx.scalar(
        select(Conversation.id)
        .where(Conversation.deleted_at <= func.clock_timestamp() - retention)
        .where(Conversation.id.not_in(but))
        .order_by(Conversation.deleted_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return found


async def lock_any(tx: Transaction, conversation_id: UUID) -> bool:
    """Deleted or not; False if there is no such row."""
    query = select(Conversation.id).where(Conversation.id == conversation_id)
    return await tx.scalar(query.with_for_update()) is not None


async def delete_some(
    tx: Transaction, conversation_id: UUID, *, keep_keys: bool = False
) -> tuple[Counts, bool]:
    """A step of the deletion of a locked conversation: (what went, whether that was all of it).

    With `keep_keys` a key that has not expired stays, without its answer: what was asked for under
    it is not made a second time.
    """
    gone: Counts = Counter()
    ids = await _some_messages(tx, conversation_id)
    for table in (Feedback, Approval):
        await _delete(tx, gone, table, table.message_id.in_(ids))
    await _delete(tx, gone, Message, Message.id.in_(ids))
    if len(ids) == MESSAGES_AT_ONCE:
        return gone, False
    for table in (Turn, StreamTicket):
        await _delete(tx, gone, table, table.conversation_id == conversation_id)
    if keep_keys:
        await _forget_conversation(tx, conversation_id)
    await _delete(tx, gone, IdempotencyKey, IdempotencyKey.conversation_id == conversation_id)
    await _delete(tx, gone, Conversation, Conversation.id == conversation_id)
    return gone, True


async def _some_messages(tx: Transaction, conversation_id: UUID) -> list[UUID]:
    rows = await tx.all(
        select(Message.id)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.seq)
        .limit(MESSAGES_AT_ONCE)
    )
    return [row.id for row in rows]


async def _forget_conversation(tx: Transaction, conversation_id: UUID) -> None:
    await tx.execute(
        update(IdempotencyKey)
        .where(
            IdempotencyKey.conversation_id == conversation_id,
            IdempotencyKey.created_at >= func.clock_timestamp() - KEPT_FOR,
        )
        .values(conversation_id=None, answer=None)
    )


async def delete_owned(tx: Transaction, owner: str) -> Counts:
    """What is the owner's beside conversations."""
    gone: Counts = Counter()
    for table in OWNED:
        await _delete(tx, gone, table, table.user_id == owner)
    return gone


async def _delete(
    tx: Transaction, gone: Counts, table: type[Base], which: ColumnElement[bool]
) -> None:
    result: CursorResult[Any] = await tx.execute(delete(table).where(which))
    gone[table.__tablename__] += result.rowcount


async def conversations_of(tx: Transaction, owner: str) -> set[UUID]:
    """All of them, deleted or not."""
    return await _conversations(tx, Conversation.user_id == owner)


async def conversation_by_id(tx: Transaction, conversation_id: UUID) -> set[UUID]:
    """The same of one conversation, whoever owns it; empty if there is none."""
    return await _conversations(tx, Conversation.id == conversation_id)


async def _conversations(tx: Transaction, which: ColumnElement[bool]) -> set[UUID]:
    return {row.id for row in await tx.all(select(Conversation.id).where(which))}


async def stop_turns(tx: Transaction, conversation_id: UUID) -> tuple[list[Change], Stopped]:
    """Cancels what waits or runs in a conversation. A worker that runs a turn ends it itself."""
    left = await _was_at_work_lately(tx, conversation_id)
    if not await lock_conversation(tx, conversation_id):
        return [], Stopped(left=left)
    changes: list[Change] = []
    holders: list[UUID] = []
    for turn in reversed(await active_turns(tx, conversation_id)):
        changed, holder = await cancel(tx, turn)
        changes += changed
        if holder is not None:
            holders.append(holder)
    return changes, Stopped(holders, left or bool(holders))


async def _was_at_work_lately(tx: Transaction, conversation_id: UUID) -> bool:
    """So that a worker, frozen since, may not have heard that its turn has ended, is another's or
    is deleted.
    """
    query = select(Turn.id).where(
        Turn.conversation_id == conversation_id,
        Turn.attempt > 0,
        or_(Turn.finished_at.is_(None), Turn.finished_at > func.clock_timestamp() - LATELY),
    )
    return await tx.scalar(query.limit(1)) is not None


async def held_conversations(tx: Transaction, ids: Collection[UUID]) -> set[UUID]:
    """Those of them that a worker with a lease works on."""
    rows = await tx.all(
        select(Turn.conversation_id)
        .join(Worker, Worker.id == Turn.lease_owner)
        .where(
            Turn.conversation_id == any_(literal(list(ids), ARRAY(Uuid()))),
            Turn.status == "running",
            Worker.lease_until > func.clock_timestamp(),
        )
    )
    return {row.conversation_id for row in rows}


async def forget_old_usage(tx: Transaction) -> None:
    """Deletes what counts for no limit any more, a bounded number, and waits for nobody."""
    oldest = func.date(func.timezone("UTC", func.clock_timestamp()) - USAGE_KEPT_FOR)
    old = (
        select(TokenUsage.user_id, TokenUsage.day)
        .where(TokenUsage.day < oldest)
        .order_by(TokenUsage.day)
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await tx.execute(delete(TokenUsage).where(tuple_(TokenUsage.user_id, TokenUsage.day).in_(old)))
