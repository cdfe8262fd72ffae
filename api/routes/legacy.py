"""The two older route families: the same functions under other names, and a POST that waits."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get, post
from litestar.di import Provide
from litestar.params import PathParameter

from api.actions import submit_message
from api.auth import Principal
from api.cursors import parse_seq
from api.deps import Configured, ConversationId, Db, Live, Owned, Repeatable, Ring
from api.history import conversation_with_messages
from api.limits import IS_MESSAGE
from api.openapi import body, described, problems
from api.request import JsonRequest
from api.routes import conversations, messages
from api.routes.messages import SUBMIT_PROBLEMS, Before, Wait, about_turn
from api.samples import (
    CHAT,
    CHAT_GOING_ON,
    CONVERSATION,
    CONVERSATION_WITH_MESSAGES,
    NEW_CHAT,
)
from api.wait import wait_for_answer
from api.wire import Chat, Conversations, ConversationWithMessages, NewChat, Submitted
from shared.db import Transaction
from shared.errors import Forbidden, InvalidCursor, InvalidRequest, NotFound
from shared.store.conversations import get_or_create_conversation

WAIT_SECONDS = 30.0

UserId = Annotated[str, PathParameter(description="The user the token is for; no other.")]


@post(
    "/chat",
    status_code=202,
    opt={IS_MESSAGE: True},
    summary="Say something and wait for the answer",
    description="Without `conversation_id` a conversation begins. 200 with the assistant's message "
    "if the turn ends within `wait` seconds; otherwise 202, and the turn is there to be followed. "
    "Where the user is named in the path it is the token's, or the answer is 403.",
    responses=described(
        {
            200: ("The turn ended. `Location` names it.", Chat, CHAT),
            202: ("Accepted; the turn goes on. `Location` names it.", Chat, CHAT_GOING_ON),
        }
    )
    | problems(*SUBMIT_PROBLEMS, Forbidden),
)
async def chat(
    principal: Owned,
    db: Db,
    feed: Live,
    jobs: Ring,
    once: Repeatable,
    settings: Configured,
    data: Annotated[NewChat, body("What to say, and where.", NEW_CHAT)],
    wait: Wait = WAIT_SECONDS,
) -> Response[Chat]:
    owner = principal.owner

    async def act(tx: Transaction) -> Submitted:
        conversation = await get_or_create_conversation(
            tx, owner=owner, conversation_id=data.conversation_id
        )
        submitted = conversation and await submit_message(
            tx,
            jobs=jobs,
            feed=feed,
            conversation_id=conversation.id,
            owner=owner,
            content=data.message,
            queue_limit=settings.parley_limit_queued_turns,
        )
        if submitted is None:
            raise NotFound
        return submitted

    submitted = await once(data, Submitted, act)
    found = await wait_for_answer(submitted, db=db, feed=feed, owner=owner, seconds=wait)
    said = Chat(
        conversation_id=found.turn.conversation_id,
        user_message=found.message,
        assistant_message=found.assistant_message or None,
        turn=found.turn,
    )
    return about_turn(found.turn, said)


@get(
    "/conversations",
    summary="List the conversations",
    description="The one that changed last comes first. `next_cursor` is null on the last page.",
    responses=described(
        {200: ("A page of them.", Conversations, Conversations([CONVERSATION], None))}
    )
    | problems(InvalidRequest, InvalidCursor, Forbidden),
)
async def listing(
    principal: Owned,
    db: Db,
    limit: conversations.Limit = conversations.DEFAULT_LIMIT,
    cursor: conversations.After = None,
) -> Conversations:
    return await conversations.page_of(db, owner=principal.owner, limit=limit, cursor=cursor)


@get(
    "/conversations/{conversation_id:uuid}",
    summary="Show a conversation and its messages",
    description="The newest messages in order; `before` pages back as long as `has_more`.",
    responses=described(
        {200: ("Both.", ConversationWithMessages, CONVERSATION_WITH_MESSAGES)},
    )
    | problems(InvalidRequest, InvalidCursor, Forbidden, NotFound),
)
async def show(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    limit: messages.Limit = messages.MAX_LIMIT,
    before: Before = None,
) -> ConversationWithMessages:
    found = await conversation_with_messages(
        db,
        conversation_id,
        owner=principal.owner,
        limit=limit,
        before=parse_seq(before) if before is not None else None,
    )
    if found is None:
        raise NotFound
    return found


def provide_principal_named(request: JsonRequest, user_id: UserId) -> Principal:
    """Raises Forbidden where the path names anybody else."""
    if user_id != request.user.owner:
        raise Forbidden
    return request.user


of_token = Router("/api", route_handlers=[chat, listing, show], tags=["older routes"])
of_user = Router(
    "/api/v1/{user_id:str}",
    route_handlers=[chat, listing, show],
    dependencies={"principal": Provide(provide_principal_named, sync_to_thread=False)},
    tags=["older routes"],
)
