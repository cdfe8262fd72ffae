"""Reading threads and their items, renaming, deleting and rating: answered at once, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from chatkit.types import (
    ItemFeedbackParams,
    ItemsListParams,
    Page,
    Thread,
    ThreadItem,
    ThreadListParams,
    ThreadUpdateParams,
)

from api import actions
from api.chatkit.items import item_of, thread_of
from api.chatkit.visitor import Visitor, as_id, fitting, id_of, refused
from api.cursors import MAX_SEQ, conversation_cursor, parse_conversation_cursor, parse_seq
from api.wire import NewTitle
from shared.db import Transaction
from shared.errors import InvalidCursor, MessageNotRateable, NotFound
from shared.events import Message
from shared.store.conversations import find_conversation, last_seq, list_conversations
from shared.store.feedback import find_rated, rate
from shared.store.messages import get_chat_history, messages_between

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
"""More are cut to it; the page says that there is more."""
SCANNED_AT_ONCE = 200
Order = Literal["asc", "desc"]


async def list_threads(visitor: Visitor, asked: ThreadListParams) -> Page[Thread]:
    if asked.order == "asc":
        raise refused("params.order", "Threads are listed with the last changed first: desc")
    limit = size_of(asked.limit)
    async with visitor.db.snapshot(visitor.owner) as tx:
        after = await _thread_place(tx, asked.after, owner=visitor.owner)
        found = await list_conversations(tx, owner=visitor.owner, limit=limit, after=after)
    page, more = found[:limit], len(found) > limit
    return Page[Thread](
        data=[thread_of(conversation) for conversation in page],
        has_more=more,
        after=conversation_cursor(page[-1]) if more else None,
    )


async def show_thread(visitor: Visitor, thread_id: str) -> Thread:
    """With its first items, as the package's own server does it."""
    conversation_id = id_of(thread_id)
    async with visitor.db.snapshot(visitor.owner) as tx:
        found = await find_conversation(tx, conversation_id, owner=visitor.owner)
        if found is None:
            raise NotFound
        items = await _page(tx, conversation_id, after=None, limit=DEFAULT_LIMIT, order="asc")
    return thread_of(found, items)


async def list_items(visitor: Visitor, asked: ItemsListParams) -> Page[ThreadItem]:
    conversation_id, limit = id_of(asked.thread_id), size_of(asked.limit)
    async with visitor.db.snapshot(visitor.owner) as tx:
        if await last_seq(tx, conversation_id, owner=visitor.owner) is None:
            raise NotFound
        after = await _item_place(tx, conversation_id, asked.after)
        return await _page(tx, conversation_id, after=after, limit=limit, order=asked.order)


async def rename_thread(visitor: Visitor, asked: ThreadUpdateParams) -> Thread:
    conversation_id = id_of(asked.thread_id)
    named = fitting(NewTitle, "params.title", {"title": asked.title})
    async with visitor.db.transaction(visitor.owner) as tx:
        renamed = await actions.rename_conversation(
            tx,
            feed=visitor.feed,
            conversation_id=conversation_id,
            owner=visitor.owner,
            title=named.title,
        )
    if renamed is None:
        raise NotFound
    return thread_of(renamed)


async def delete_thread(visitor: Visitor, thread_id: str) -> None:
    conversation_id = id_of(thread_id)
    async with visitor.db.transaction(visitor.owner) as tx:
        gone = await actions.delete_conversation(
            tx, feed=visitor.feed, conversation_id=conversation_id, owner=visitor.owner
        )
    if not gone:
        raise NotFound


async def rate_items(visitor: Visitor, asked: ItemFeedbackParams) -> None:
    """Those of them that are answers: a client names tool calls beside them."""
    conversation_id = id_of(asked.thread_id)
    if not 1 <= len(asked.item_ids) <= MAX_LIMIT:
        raise refused("params.item_ids", f"Must be 1 to {MAX_LIMIT}")
    rating = "up" if asked.kind == "positive" else "down"
    rated_any = False
    async with visitor.db.transaction(visitor.owner) as tx:
        # In one order for all: nobody waits for whoever waits for them.
        for item_id in sorted({id_of(item) for item in asked.item_ids}):
            rated = await find_rated(tx, item_id, owner=visitor.owner)
            if rated is None or rated.conversation_id != conversation_id:
                raise NotFound
            if rated.is_answer:
                await rate(tx, rated, owner=visitor.owner, rating=rating, comment="")
                rated_any = True
        if not rated_any:
            raise MessageNotRateable


def size_of(limit: int | None) -> int:
    if limit is None:
        return DEFAULT_LIMIT
    if limit < 1:
        raise refused("params.limit", "Must be at least 1")
    return min(limit, MAX_LIMIT)


async def find_item(tx: Transaction, conversation_id: UUID, item_id: UUID) -> Message | None:
    """From the newest on: it is nearly always among those."""
    before: int | None = None
    while rows := await get_chat_history(tx, conversation_id, limit=SCANNED_AT_ONCE, before=before):
        for message in reversed(rows):
            if message.id == item_id:
                return message
        before = rows[0].seq
    return None


async def _page(
    tx: Transaction, conversation_id: UUID, *, after: int | None, limit: int, order: Order
) -> Page[ThreadItem]:
    """Full pages, although some messages have no item of their own."""
    shown: list[tuple[int, ThreadItem]] = []
    while len(shown) <= limit:
        rows = await _rows(tx, conversation_id, after=after, limit=limit, order=order)
        shown += [(row.seq, item) for row in rows if (item := item_of(row)) is not None]
        if len(rows) <= limit:
            break
        after = rows[-1].seq
    page, more = shown[:limit], len(shown) > limit
    return Page[ThreadItem](
        data=[item for _, item in page], has_more=more, after=str(page[-1][0]) if more else None
    )


async def _rows(
    tx: Transaction, conversation_id: UUID, *, after: int | None, limit: int, order: Order
) -> list[Message]:
    """One more than `limit` if there is."""
    if order == "desc":
        return (await get_chat_history(tx, conversation_id, limit=limit, before=after))[::-1]
    return await messages_between(
        tx, conversation_id, after=after or 0, last=MAX_SEQ, limit=limit + 1
    )


async def _item_place(tx: Transaction, conversation_id: UUID, after: str | None) -> int | None:
    """Our pages name a `seq`; a client may also name the last item that it has."""
    if after is None:
        return None
    item_id = as_id(after)
    if item_id is None:
        return parse_seq(after)
    found = await find_item(tx, conversation_id, item_id)
    if found is None:
        raise InvalidCursor("There is no such item in the thread.")
    return found.seq


async def _thread_place(
    tx: Transaction, after: str | None, *, owner: str
) -> tuple[datetime, UUID] | None:
    if after is None:
        return None
    conversation_id = as_id(after)
    if conversation_id is None:
        return parse_conversation_cursor(after)
    found = await find_conversation(tx, conversation_id, owner=owner)
    if found is None:
        raise InvalidCursor("There is no such thread.")
    return found.updated_at, found.id
