"""An owner's conversations."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post, route
from litestar.enums import HttpMethod
from litestar.params import QueryParameter

from api import actions
from api.cursors import conversation_cursor, parse_conversation_cursor
from api.deps import ConversationId, Db, Live, Owned, Repeatable
from api.openapi import body, described, problems
from api.samples import CONVERSATION
from api.wire import Conversations, NewConversation, NewTitle
from shared.db import Database, Transaction
from shared.errors import (
    BodyTooLarge,
    IdempotencyKeyReused,
    InvalidCursor,
    InvalidRequest,
    NotFound,
    UnsupportedMediaType,
)
from shared.events import Conversation
from shared.store.conversations import create_conversation, find_conversation, list_conversations

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]
After = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the page before; opaque.")
]
_BODY_PROBLEMS = (InvalidRequest, BodyTooLarge, UnsupportedMediaType)


@post(
    "/",
    summary="Begin a conversation",
    description="A title that is given stays. Without one it is the date, and from the first "
    "message on that message's first 50 characters.",
    responses=described({201: ("The new conversation.", Conversation, CONVERSATION)})
    | problems(*_BODY_PROBLEMS, NotFound, IdempotencyKeyReused),
)
async def begin(
    principal: Owned,
    once: Repeatable,
    data: Annotated[
        NewConversation | None, body("A title, or nothing.", NewConversation("Holiday plans"))
    ] = None,
) -> Conversation:
    asked = data or NewConversation()

    async def act(tx: Transaction) -> Conversation:
        return await create_conversation(tx, owner=principal.owner, title=asked.title)

    return await once(asked, Conversation, act)


@get(
    "/",
    summary="List the conversations",
    description="The one that changed last comes first. `next_cursor` is null on the last page.",
    responses=described(
        {200: ("A page of them.", Conversations, Conversations([CONVERSATION], None))}
    )
    | problems(InvalidRequest, InvalidCursor),
)
async def listing(
    principal: Owned, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: After = None
) -> Conversations:
    return await page_of(db, owner=principal.owner, limit=limit, cursor=cursor)


async def page_of(db: Database, *, owner: str, limit: int, cursor: str | None) -> Conversations:
    after = parse_conversation_cursor(cursor) if cursor is not None else None
    async with db.snapshot(owner) as tx:
        found = await list_conversations(tx, owner=owner, limit=limit, after=after)
    page = found[:limit]
    return Conversations(page, conversation_cursor(page[-1]) if len(found) > limit else None)


@get(
    "/{conversation_id:uuid}",
    summary="Show a conversation",
    description="Its `seq` is a cursor: following from it shows whatever changes afterwards.",
    responses=described({200: ("The conversation.", Conversation, CONVERSATION)})
    | problems(InvalidRequest, NotFound),
)
async def show(conversation_id: ConversationId, principal: Owned, db: Db) -> Conversation:
    async with db.snapshot(principal.owner) as tx:
        found = await find_conversation(tx, conversation_id, owner=principal.owner)
    if found is None:
        raise NotFound
    return found


@route(
    "/{conversation_id:uuid}",
    http_method=[HttpMethod.PUT, HttpMethod.PATCH],
    status_code=200,
    summary="Rename a conversation",
    description="From then on no message changes the title. PUT and PATCH are the same.",
    responses=described({200: ("The renamed conversation.", Conversation, CONVERSATION)})
    | problems(*_BODY_PROBLEMS, NotFound),
)
async def rename(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    feed: Live,
    data: Annotated[NewTitle, body("The title.", NewTitle("Holiday plans"))],
) -> Conversation:
    async with db.transaction(principal.owner) as tx:
        renamed = await actions.rename_conversation(
            tx,
            feed=feed,
            conversation_id=conversation_id,
            owner=principal.owner,
            title=data.title,
        )
    if renamed is None:
        raise NotFound
    return renamed


@delete(
    "/{conversation_id:uuid}",
    summary="Delete a conversation",
    description="Turns that wait or run are cancelled, and streams of it end. From then on all of "
    "it is 404.",
    responses=described({204: ("It is gone.", None, None)}) | problems(InvalidRequest, NotFound),
)
async def remove(conversation_id: ConversationId, principal: Owned, db: Db, feed: Live) -> None:
    async with db.transaction(principal.owner) as tx:
        gone = await actions.delete_conversation(
            tx, feed=feed, conversation_id=conversation_id, owner=principal.owner
        )
    if not gone:
        raise NotFound


router = Router(
    "/api/chat/conversations",
    route_handlers=[begin, listing, show, rename, remove],
    tags=["conversations"],
)
