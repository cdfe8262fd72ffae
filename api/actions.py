"""Verbs that change state: one transaction each, and what is told once it is committed."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from structlog.contextvars import bind_contextvars

from api.busy import Yielded, make_way
from api.telling import tell
from api.wire import OnBusy, Submitted
from shared.db import Transaction
from shared.errors import QueueFull, TurnNotRetryable
from shared.events import TERMINAL, Change, Conversation, MessageCreated, Turn, TurnUpdated
from shared.jobs import Jobs
from shared.log import request_id
from shared.metrics import LIMITED
from shared.publisher import LiveText, Publisher
from shared.spans import traceparent
from shared.store import conversations, endings, idempotency, messages, turns
from shared.store.claims import holder_of
from shared.store.sequence import lock_conversation, take_seqs
from shared.store.submission import queue_message


async def submit_message(
    tx: Transaction,
    *,
    jobs: Jobs,
    feed: Publisher,
    conversation_id: UUID,
    owner: str,
    content: str,
    on_busy: OnBusy = "enqueue",
    live: LiveText | None = None,
    queue_limit: int = 0,
) -> Submitted | None:
    """The message and the turn that will answer it; None if the conversation isn't the owner's.

    `on_busy` says what becomes of a turn that waits or runs (`api/busy.py`); `live` is the text
    in flight. Raises ConversationBusy, or QueueFull where `queue_limit` turns wait already.
    """
    yielded = Yielded()
    if on_busy != "enqueue":
        if not await conversations.lock_owned(tx, conversation_id, owner=owner):
            return None
        yielded = await make_way(tx, conversation_id, on_busy, live=live)
    telling = partial(tell, feed, conversation_id, holder=yielded.holder, owner=owner)
    if yielded.steered is not None:
        steered = await _steer(tx, yielded.steered, content=content)
        tx.after_commit(partial(telling, [MessageCreated(steered.message.seq, steered.message)]))
        return steered
    found = await _queue_message(tx, conversation_id, owner=owner, content=content)
    if found is None:
        return None
    submitted, changes = found
    _refuse_beyond(queue_limit, submitted.turn)
    tx.after_commit(partial(telling, [*yielded.changes, *changes], jobs))
    return submitted


async def _queue_message(
    tx: Transaction, conversation_id: UUID, *, owner: str, content: str
) -> tuple[Submitted, list[Change]] | None:
    taken = await conversations.take_seqs_for_submission(
        tx, conversation_id, owner=owner, content=content
    )
    if taken is None:
        return None
    seq, titled = taken
    created, turn = await queue_message(
        tx,
        conversation_id=conversation_id,
        owner=owner,
        content=content,
        seq=seq,
        request_id=request_id(),
        traceparent=traceparent(),
    )
    _about(turn)
    changes: list[Change] = [created, TurnUpdated(turn.seq, turn)]
    if titled:
        renamed = await conversations.renamed_after(
            tx, conversation_id, owner=owner, since=turn.seq
        )
        assert renamed is not None
        changes.append(renamed)
    return Submitted(created.message, turn, since=seq - 1), changes


async def _steer(tx: Transaction, turn: Turn, *, content: str) -> Submitted:
    """Says it within the turn at work, which reads it before it next asks the model."""
    _about(turn)
    seq = await take_seqs(tx, turn.conversation_id, 1, messages=1, preview=content)
    said = await messages.add_message(
        tx,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        seq=seq,
        role="user",
        content=content,
    )
    return Submitted(said.message, turn, since=seq - 1)


async def cancel_turn(
    tx: Transaction,
    *,
    jobs: Jobs,
    feed: Publisher,
    turn_id: UUID,
    owner: str,
    live: LiveText | None,
) -> tuple[Turn, bool] | None:
    """(the turn, whether this did something about it); None if it isn't the owner's.

    A turn that a worker holds is still running when this returns; it will end as cancelled.
    """
    turn = await locked_turn(tx, turn_id, owner=owner)
    if turn is None:
        return None
    if turn.status in TERMINAL:
        return turn, False
    changes, holder = await endings.cancel(tx, turn, live=live)
    tx.after_commit(
        partial(tell, feed, turn.conversation_id, changes, jobs, holder=holder, owner=owner)
    )
    return await turns.find_turn(tx, turn_id, owner=owner) or turn, True


async def retry_turn(
    tx: Transaction,
    *,
    jobs: Jobs,
    feed: Publisher,
    turn_id: UUID,
    owner: str,
    queue_limit: int = 0,
) -> Turn | None:
    """The same turn, waiting once more; None if it isn't the owner's.

    Raises TurnNotRetryable, or QueueFull where `queue_limit` turns wait already.
    """
    turn = await locked_turn(tx, turn_id, owner=owner)
    if turn is None:
        return None
    if turn.status not in {"failed", "cancelled"} or not await turns.is_last(tx, turn):
        raise TurnNotRetryable
    if await messages.is_withdrawn(tx, turn.user_message_id):
        raise TurnNotRetryable("The turn was rolled back.")
    again = await endings.queue_again(tx, turn, request_id=request_id())
    _refuse_beyond(queue_limit, again.turn)
    tx.after_commit(partial(tell, feed, turn.conversation_id, [again], jobs, owner=owner))
    return again.turn


def _refuse_beyond(limit: int, turn: Turn) -> None:
    """A turn knows its place in the queue. The error takes back what was written."""
    if limit and turn.position is not None and turn.position > limit:
        LIMITED.labels("queued_turns").inc()
        raise QueueFull(f"No more than {limit} may wait.")


async def locked_turn(tx: Transaction, turn_id: UUID, *, owner: str) -> Turn | None:
    """The owner's turn as it is under the lock of its conversation."""
    found = await turns.find_turn(tx, turn_id, owner=owner)
    if found is None or not await lock_conversation(tx, found.conversation_id):
        return None
    _about(found)
    return await turns.find_turn(tx, turn_id, owner=owner)


def _about(turn: Turn) -> None:
    """From here on the request's log lines name the turn that it made or touched."""
    bind_contextvars(turn_id=str(turn.id), conversation_id=str(turn.conversation_id))


async def rename_conversation(
    tx: Transaction, *, feed: Publisher, conversation_id: UUID, owner: str, title: str
) -> Conversation | None:
    renamed = await conversations.rename_conversation(tx, conversation_id, owner=owner, title=title)
    if renamed is None:
        return None
    tx.after_commit(partial(tell, feed, conversation_id, [renamed]))
    return renamed.conversation


async def delete_conversation(
    tx: Transaction, *, feed: Publisher, conversation_id: UUID, owner: str
) -> bool:
    """Cancels what waits or runs, then hides the conversation; False if it isn't the owner's."""
    if not await conversations.lock_owned(tx, conversation_id, owner=owner):
        return False
    active = await turns.active_turns(tx, conversation_id)
    holder = await holder_of(tx, active[0].id) if active else None
    changes: list[Change] = []
    # From the last to the head: nobody moves up that is to end next.
    for turn in reversed(active):
        changes += await endings.end_early(tx, turn, "cancelled")
    await idempotency.forget_answers(tx, conversation_id)
    deleted = await conversations.delete_conversation(tx, conversation_id, owner=owner)
    tx.after_commit(partial(tell, feed, conversation_id, [*changes, deleted], holder=holder))
    return True
