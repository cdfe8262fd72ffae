"""What the owner thinks of the answers."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, put
from litestar.params import QueryParameter

from api.cursors import parse_seq
from api.deps import ConversationId, Db, MessageId, Owned
from api.openapi import body, described, problems
from api.routes.conversations import After
from api.samples import FEEDBACK, FEEDBACK_LIST, NEW_FEEDBACK
from api.wire import FeedbackList, NewFeedback
from shared.db import Transaction
from shared.errors import (
    BodyTooLarge,
    InvalidCursor,
    InvalidRequest,
    MessageNotRateable,
    NotFound,
    UnsupportedMediaType,
)
from shared.store.conversations import last_seq
from shared.store.feedback import Feedback, Rated, find_rated, list_feedback, rate, unrate

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]


@put(
    "/messages/{message_id:uuid}/feedback",
    summary="Rate an answer",
    description="In place of an earlier rating. It is no change of the conversation: it has no "
    "number, and whoever follows is not told.",
    responses=described({200: ("What is kept.", Feedback, FEEDBACK)})
    | problems(InvalidRequest, BodyTooLarge, UnsupportedMediaType, NotFound, MessageNotRateable),
)
async def put_feedback(
    message_id: MessageId,
    principal: Owned,
    db: Db,
    data: Annotated[NewFeedback, body("Up or down, and why.", NEW_FEEDBACK)],
) -> Feedback:
    async with db.transaction(principal.owner) as tx:
        rated = await _found(tx, message_id, owner=principal.owner)
        if not rated.is_answer:
            raise MessageNotRateable
        return await rate(
            tx, rated, owner=principal.owner, rating=data.rating, comment=data.comment
        )


@delete(
    "/messages/{message_id:uuid}/feedback",
    summary="Take a rating back",
    description="Where there is none, nothing happens.",
    responses=described({204: ("There is none any more.", None, None)})
    | problems(InvalidRequest, NotFound),
)
async def delete_feedback(message_id: MessageId, principal: Owned, db: Db) -> None:
    async with db.transaction(principal.owner) as tx:
        await unrate(tx, await _found(tx, message_id, owner=principal.owner))


@get(
    "/conversations/{conversation_id:uuid}/feedback",
    summary="List the ratings in a conversation",
    description="In the order of the messages. `next_cursor` is null on the last page.",
    responses=described({200: ("A page of them.", FeedbackList, FEEDBACK_LIST)})
    | problems(InvalidRequest, InvalidCursor, NotFound),
)
async def listing(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    limit: Limit = DEFAULT_LIMIT,
    cursor: After = None,
) -> FeedbackList:
    after = parse_seq(cursor) if cursor is not None else 0
    async with db.snapshot(principal.owner) as tx:
        if await last_seq(tx, conversation_id, owner=principal.owner) is None:
            raise NotFound
        found = await list_feedback(tx, conversation_id, limit=limit, after=after)
    page = found[:limit]
    return FeedbackList(
        [feedback for _, feedback in page], str(page[-1][0]) if len(found) > limit else None
    )


async def _found(tx: Transaction, message_id: UUID, *, owner: str) -> Rated:
    found = await find_rated(tx, message_id, owner=owner)
    if found is None:
        raise NotFound
    return found


router = Router(
    "/api/chat", route_handlers=[put_feedback, delete_feedback, listing], tags=["feedback"]
)
