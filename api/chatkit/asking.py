"""What makes the agent work: a new message, or an ended turn once more. It is committed before the
first byte of the answer leaves.
"""

from __future__ import annotations

from uuid import UUID

import msgspec
from chatkit.types import ThreadRetryAfterItemParams, UserMessageInput

from api import actions
from api.chatkit.threads import find_item
from api.chatkit.visitor import Visitor, fitting, id_of, refused
from api.wire import NewMessage, Submitted
from shared.db import Transaction
from shared.errors import NotFound
from shared.events import TERMINAL
from shared.store import conversations, endings, messages, turns

INPUT = "params.input"


class Said(msgspec.Struct, frozen=True):
    """What an `Idempotency-Key` stands for: this text, in this thread or in a new one."""

    content: str
    thread_id: UUID | None = None


class Followed(msgspec.Struct, frozen=True):
    """The turn whose work is relayed, and from where on it is told."""

    conversation_id: UUID
    turn_id: UUID
    question_id: UUID
    since: int
    tells_question: bool = True
    """Whoever retries has the question before them."""


async def begin_thread(visitor: Visitor, said: UserMessageInput) -> Followed:
    content = text_of(said)

    async def act(tx: Transaction) -> Submitted:
        made = await conversations.create_conversation(tx, owner=visitor.owner)
        return await _submit(tx, visitor, made.id, content)

    return _followed(await visitor.once(Said(content), Submitted, act))


async def add_message(visitor: Visitor, thread_id: str, said: UserMessageInput) -> Followed:
    """Added twice it is there once: by its key or, without one, as long as its turn goes on."""
    conversation_id, content = id_of(thread_id), text_of(said)

    async def act(tx: Transaction) -> Submitted:
        if not visitor.keyed:
            same = await _same_again(tx, visitor, conversation_id, content)
            if same is not None:
                return same
        return await _submit(tx, visitor, conversation_id, content)

    return _followed(await visitor.once(Said(content, conversation_id), Submitted, act))


async def retry_after(visitor: Visitor, asked: ThreadRetryAfterItemParams) -> Followed:
    """An ended turn waits once more; one that still goes on is only followed again."""
    conversation_id, item_id = id_of(asked.thread_id), id_of(asked.item_id)
    async with visitor.db.transaction(visitor.owner) as tx:
        if not await conversations.lock_owned(tx, conversation_id, owner=visitor.owner):
            raise NotFound
        question = await find_item(tx, conversation_id, item_id)
        if question is None or question.turn_id is None:
            raise NotFound
        if question.role != "user":
            raise refused("params.item_id", "Must be a message of the user")
        turn = await turns.find_turn(tx, question.turn_id, owner=visitor.owner)
        assert turn is not None
        if turn.status in TERMINAL:
            await actions.retry_turn(
                tx,
                jobs=visitor.jobs,
                feed=visitor.feed,
                turn_id=turn.id,
                owner=visitor.owner,
                queue_limit=visitor.settings.parley_limit_queued_turns,
            )
    return Followed(
        conversation_id, turn.id, question.id, since=question.seq - 1, tells_question=False
    )


def text_of(said: UserMessageInput) -> str:
    """Its parts joined, behind what it quotes."""
    if said.attachments:
        raise refused(f"{INPUT}.attachments", "Attachments are not supported")
    options = said.inference_options
    if options.model is not None or options.tool_choice is not None:
        raise refused(f"{INPUT}.inference_options", "The model and its tools can't be chosen")
    text = "".join(part.text for part in said.content)
    if said.quoted_text:
        quoted = "\n".join(f"> {line}" for line in said.quoted_text.splitlines())
        text = f"{quoted}\n\n{text}"
    return fitting(NewMessage, f"{INPUT}.content", {"content": text}).content


async def _submit(
    tx: Transaction, visitor: Visitor, conversation_id: UUID, content: str
) -> Submitted:
    submitted = await actions.submit_message(
        tx,
        jobs=visitor.jobs,
        feed=visitor.feed,
        conversation_id=conversation_id,
        owner=visitor.owner,
        content=content,
        queue_limit=visitor.settings.parley_limit_queued_turns,
    )
    if submitted is None:
        raise NotFound
    return submitted


async def _same_again(
    tx: Transaction, visitor: Visitor, conversation_id: UUID, content: str
) -> Submitted | None:
    """ChatKit gives what it sends no id. But it lets nobody speak while an answer is on its way, so
    that the last text, come again meanwhile, is the same one sent anew.
    """
    if not await conversations.lock_owned(tx, conversation_id, owner=visitor.owner):
        raise NotFound
    active = await turns.active_turns(tx, conversation_id)
    if not active or await endings.is_being_cancelled(tx, active[-1]):
        return None
    turn = active[-1]
    for message in await messages.messages_of_turn(tx, conversation_id, turn.id):
        if message.id == turn.user_message_id and message.content == content:
            return Submitted(message, turn, since=message.seq - 1)
    return None


def _followed(submitted: Submitted) -> Followed:
    turn, message = submitted.turn, submitted.message
    return Followed(turn.conversation_id, turn.id, message.id, since=submitted.since)
