"""Verbs that change state: one transaction each, and what is told once it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

import structlog

from api.wire import Submitted
from shared.db import Transaction
from shared.events import Change, Conversation, TurnUpdated
from shared.feed import Publisher
from shared.ids import new_id
from shared.jobs import Jobs
from shared.redis import REDIS_ERRORS
from shared.store import conversations, messages, turns
from shared.store.sequence import take_seqs

log = structlog.get_logger()

TELL_SECONDS = 0.5


async def submit_message(
    tx: Transaction,
    *,
    jobs: Jobs,
    feed: Publisher,
    conversation_id: UUID,
    owner: str,
    content: str,
) -> Submitted | None:
    """The message and the turn that will answer it; None if the conversation isn't the owner's."""
    taken = await conversations.take_seqs_for_submission(
        tx, conversation_id, owner=owner, content=content
    )
    if taken is None:
        return None
    seq, titled = taken
    message_id = new_id()
    turn = await turns.queue_turn(
        tx,
        conversation_id=conversation_id,
        owner=owner,
        user_message_id=message_id,
        seq=seq + 1,
    )
    created = await messages.add_message(
        tx,
        conversation_id=conversation_id,
        turn_id=turn.id,
        seq=seq,
        role="user",
        content=content,
        message_id=message_id,
    )
    changes: list[Change] = [created, TurnUpdated(turn.seq, turn)]
    if titled:
        renamed = await conversations.renamed_after(
            tx, conversation_id, owner=owner, since=turn.seq
        )
        assert renamed is not None
        changes.append(renamed)
    tx.after_commit(partial(_tell, feed, conversation_id, changes, jobs))
    return Submitted(created.message, turn, since=seq - 1)


async def rename_conversation(
    tx: Transaction, *, feed: Publisher, conversation_id: UUID, owner: str, title: str
) -> Conversation | None:
    renamed = await conversations.rename_conversation(tx, conversation_id, owner=owner, title=title)
    if renamed is None:
        return None
    tx.after_commit(partial(_tell, feed, conversation_id, [renamed]))
    return renamed.conversation


async def delete_conversation(
    tx: Transaction, *, feed: Publisher, conversation_id: UUID, owner: str
) -> bool:
    """Cancels what waits or runs, then hides the conversation; False if it isn't the owner's."""
    if not await conversations.lock_owned(tx, conversation_id, owner=owner):
        return False
    changes: list[Change] = []
    for turn in await turns.active_turns(tx, conversation_id):
        calls = await messages.open_calls(tx, turn.id)
        seq = await take_seqs(tx, conversation_id, len(calls) + 1)
        changes += await messages.close_calls(tx, calls, seq=seq, status="cancelled")
        changes.append(await turns.end_turn(tx, turn, seq=seq + len(calls), status="cancelled"))
    deleted = await conversations.delete_conversation(tx, conversation_id, owner=owner)
    tx.after_commit(partial(_tell, feed, conversation_id, [*changes, deleted]))
    return True


async def _tell(
    feed: Publisher, conversation_id: UUID, changes: Sequence[Change], jobs: Jobs | None = None
) -> None:
    """Publishes, then rings. The rows are written: whoever isn't told now finds them there.

    The client waits for its answer meanwhile, so half a second must do for all of it.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(TELL_SECONDS):
            try:
                await feed.changes(conversation_id, changes)
            except REDIS_ERRORS as error:
                log.warning("publish_failed", error=type(error).__name__)
            if jobs is not None:
                await jobs.ring(conversation_id)
