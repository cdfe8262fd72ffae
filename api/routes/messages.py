"""The messages of a conversation: saying something, and reading what was said."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.params import QueryParameter

from api.actions import submit_message
from api.cursors import parse_seq, parse_since
from api.deps import Configured, ConversationId, Db, Live, Owned, Repeatable, Ring
from api.history import changes_since, newest_page
from api.limits import IS_MESSAGE
from api.openapi import body, described, problems
from api.samples import MESSAGES, SUBMITTED, SUBMITTED_AND_ANSWERED
from api.wait import wait_for_answer, wait_until
from api.wire import Messages, NewMessage, Submitted
from shared.db import Database, Transaction
from shared.errors import (
    BodyTooLarge,
    ConversationBusy,
    CursorAhead,
    IdempotencyKeyReused,
    InvalidCursor,
    InvalidRequest,
    NotFound,
    QueueFull,
    UnsupportedMediaType,
)
from shared.events import TERMINAL, Turn
from shared.store.conversations import last_seq
from shared.store.messages import seq_at

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_WAIT_SECONDS = 60

Wait = Annotated[
    float,
    QueryParameter(
        ge=0, le=MAX_WAIT_SECONDS, description="How many seconds to wait for something to tell."
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]
Since = Annotated[
    str | None,
    QueryParameter(
        description="What changed after this: a `seq` or `next_since`, or an RFC 3339 time with "
        "an offset."
    ),
]
Before = Annotated[
    str | None, QueryParameter(description="Messages before this `seq`: pages back.")
]
SUBMIT_PROBLEMS = (
    *(InvalidRequest, NotFound, BodyTooLarge, UnsupportedMediaType, IdempotencyKeyReused),
    QueueFull,
)
_LOCATION = "`Location` names the turn."


@post(
    "/",
    status_code=202,
    opt={IS_MESSAGE: True},
    summary="Say something",
    description="The message is stored and a turn is queued that will answer it: 202 means that "
    "both are on disk. With `wait` the answer is 200 if the turn ends in time, and 202 as soon as "
    "it is `awaiting_approval`. Following the "
    "conversation from `since` shows everything from this message on.\n\n"
    "`on_busy`, where a turn of the conversation waits or runs: `enqueue` waits behind it; "
    "`reject` is 409; `interrupt` cancels it and keeps its text; `rollback` cancels it and "
    "withdraws its messages; `steer` hands the text to it before its next model call, and the "
    "`turn` of the answer is that one.",
    responses=described(
        {
            202: (f"Accepted; the turn goes on. {_LOCATION}", Submitted, SUBMITTED),
            200: (
                f"The turn ended within `wait`. {_LOCATION}",
                Submitted,
                SUBMITTED_AND_ANSWERED,
            ),
        }
    )
    | problems(*SUBMIT_PROBLEMS, ConversationBusy),
)
async def submit(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    feed: Live,
    jobs: Ring,
    once: Repeatable,
    settings: Configured,
    data: Annotated[NewMessage, body("What to say.", NewMessage("What is on my list today?"))],
    wait: Wait = 0.0,
) -> Response[Submitted]:
    # Asked for before the transaction: no lock is held while Redis thinks.
    live = await feed.live_text(conversation_id) if data.on_busy == "interrupt" else None

    async def act(tx: Transaction) -> Submitted:
        submitted = await submit_message(
            tx,
            jobs=jobs,
            feed=feed,
            conversation_id=conversation_id,
            owner=principal.owner,
            content=data.content,
            on_busy=data.on_busy,
            live=live,
            queue_limit=settings.parley_limit_queued_turns,
        )
        if submitted is None:
            raise NotFound
        return submitted

    submitted = await once(data, Submitted, act)
    if wait:
        submitted = await wait_for_answer(
            submitted, db=db, feed=feed, owner=principal.owner, seconds=wait
        )
    return about_turn(submitted.turn, submitted)


def about_turn(turn: Turn, content: T) -> Response[T]:
    """200 once the turn has ended, 202 before, and where to look for it."""
    return Response(
        content,
        status_code=200 if turn.status in TERMINAL else 202,
        headers={"Location": f"/api/chat/turns/{turn.id}"},
    )


@get(
    "/",
    summary="Read the messages",
    description="Without `since`: the newest messages in order, and the turns they belong to; "
    "`before` pages back. With `since`: every message and turn that changed after it, in the order "
    "of the changes; ask again from `next_since`. With `since` and `wait` it answers as soon as "
    "there is something, or with empty lists.",
    responses=described({200: ("Messages and turns.", Messages, MESSAGES)})
    | problems(InvalidRequest, InvalidCursor, CursorAhead, NotFound),
)
async def read(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    feed: Live,
    limit: Limit = DEFAULT_LIMIT,
    since: Since = None,
    before: Before = None,
    wait: Wait = 0.0,
) -> Messages:
    owner = principal.owner
    if since is not None and before is not None:
        raise InvalidRequest("`since` and `before` can't be combined.")
    if since is None:
        newest = await newest_page(
            db,
            conversation_id,
            owner=owner,
            limit=limit,
            before=parse_seq(before) if before is not None else None,
        )
        return _found(newest)
    seq = await _resolve(db, conversation_id, owner=owner, since=parse_since(since))

    async def look() -> Messages:
        return _found(await changes_since(db, conversation_id, owner=owner, since=seq, limit=limit))

    async def look_for_more() -> Messages | None:
        more = await look()
        return more if more.next_since > seq else None

    page = await look()
    if not wait or page.next_since > seq:
        return page
    more = await wait_until(
        look_for_more, feed=feed, conversation_id=conversation_id, since=seq, seconds=wait
    )
    return more or page


async def _resolve(
    db: Database, conversation_id: UUID, *, owner: str, since: int | datetime
) -> int:
    """A time becomes the seq of the last message that was there by then."""
    async with db.snapshot(owner) as tx:
        last = await last_seq(tx, conversation_id, owner=owner)
        if last is None:
            raise NotFound
        if isinstance(since, datetime):
            return await seq_at(tx, conversation_id, since)
    if since > last:
        raise CursorAhead
    return since


def _found(page: Messages | None) -> Messages:
    if page is None:
        raise NotFound
    return page


router = Router(
    "/api/chat/conversations/{conversation_id:uuid}/messages",
    route_handlers=[submit, read],
    tags=["messages"],
)
