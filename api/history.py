"""Pages of a conversation's history: the newest, or what changed since."""

from __future__ import annotations

from uuid import UUID

import msgspec

from api.wire import ConversationWithMessages, Messages
from shared.db import Database, Transaction
from shared.events import Conversation, Message, MessageCreated, MessageUpdated, TurnUpdated
from shared.store.conversations import find_conversation
from shared.store.messages import get_chat_history
from shared.store.replay import replay
from shared.store.turns import turns_of_page


async def newest_page(
    db: Database, conversation_id: UUID, *, owner: str, limit: int, before: int | None
) -> Messages | None:
    """The newest messages in order, their turns and whichever turns wait or run."""
    async with db.snapshot(owner) as tx:
        found = await _newest(tx, conversation_id, owner=owner, limit=limit, before=before)
        if found is None:
            return None
        conversation, messages, has_more = found
        shown = {message.turn_id for message in messages if message.turn_id is not None}
        turns = await turns_of_page(tx, conversation_id, shown)
    return Messages(
        messages=messages,
        turns=turns,
        total_count=conversation.message_count,
        next_since=conversation.seq,
        has_more=has_more,
    )


async def conversation_with_messages(
    db: Database, conversation_id: UUID, *, owner: str, limit: int, before: int | None
) -> ConversationWithMessages | None:
    async with db.snapshot(owner) as tx:
        found = await _newest(tx, conversation_id, owner=owner, limit=limit, before=before)
    if found is None:
        return None
    conversation, messages, has_more = found
    return ConversationWithMessages(
        **msgspec.structs.asdict(conversation), messages=messages, has_more=has_more
    )


async def _newest(
    tx: Transaction, conversation_id: UUID, *, owner: str, limit: int, before: int | None
) -> tuple[Conversation, list[Message], bool] | None:
    """The conversation, its newest messages in order, and whether there are older ones."""
    conversation = await find_conversation(tx, conversation_id, owner=owner)
    if conversation is None:
        return None
    found = await get_chat_history(tx, conversation_id, limit=limit, before=before)
    return conversation, found[-limit:], len(found) > limit


async def changes_since(
    db: Database, conversation_id: UUID, *, owner: str, since: int, limit: int
) -> Messages | None:
    """Messages and turns in the order of their last change, at most `limit` of both."""
    async with db.snapshot(owner) as tx:
        conversation = await find_conversation(tx, conversation_id, owner=owner)
        found = await replay(tx, conversation_id, owner=owner, since=since, limit=limit)
    if conversation is None or found is None:
        return None
    return Messages(
        messages=[
            change.message
            for change in found.changes
            if isinstance(change, MessageCreated | MessageUpdated)
        ],
        turns=[change.turn for change in found.changes if isinstance(change, TurnUpdated)],
        total_count=conversation.message_count,
        next_since=found.cursor,
        has_more=not found.complete,
    )
