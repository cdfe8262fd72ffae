"""The event stream of a conversation."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get
from litestar.params import HeaderParameter, QueryParameter
from sse_starlette import EventSourceResponse

from api.auth import TICKETS
from api.cursors import parse_event_cursor
from api.deps import Configured, ConversationId, Db, Live, Owned
from api.limits import OPENS_STREAM
from api.openapi import BEARER, COOKIE, EVENT_STREAM, TICKET, described, problems
from api.samples import EVENTS
from api.shutdown import Shutdown
from api.stream import answered_by, event_stream, framed
from shared.errors import (
    CursorAhead,
    InvalidCursor,
    InvalidRequest,
    NotFound,
    TooManyStreams,
    Unauthorized,
)
from shared.store.conversations import last_seq

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", description="The `id` of the last event seen; wins over `since`."
    ),
]
Since = Annotated[
    str | None,
    QueryParameter(description="A `seq`, or the `id` of an event (`seq` or `seq:offset`)."),
]
Ticket = Annotated[
    str | None,
    QueryParameter(description="Instead of a token: it opens one stream, once."),
]


@get(
    "/",
    media_type=EVENT_STREAM,
    opt={OPENS_STREAM: True, TICKETS: True},
    summary="Follow a conversation",
    description="Server-sent events: `message.created`, `message.updated`, `message.delta`, "
    "`turn.updated`, `conversation.updated` and, last, `stream.closing`. The stream covers the "
    "whole conversation, later turns too. It begins after the change named by `Last-Event-ID` or "
    "`since`; where neither is given it tells what happens from now on, and the text in flight. "
    "The schema `Event` has their fields, with the name in place of the `event:` line. "
    "Ignore names you don't know. Comments keep the connection alive. A client that can't send a "
    "header takes a ticket first and comes with `ticket`; to resume it needs a new one.",
    security=[{BEARER: []}, {COOKIE: []}, {TICKET: []}],
    responses=described({200: ("The stream; it goes on.", str, EVENTS)}, media_type=EVENT_STREAM)
    | problems(InvalidRequest, InvalidCursor, CursorAhead, NotFound, TooManyStreams),
)
async def follow(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    feed: Live,
    settings: Configured,
    last_event_id: LastEventId = None,
    since: Since = None,
    ticket: Ticket = None,  # noqa: ARG001 - the guard has used it up
) -> EventSourceResponse:
    if principal.expired:
        raise Unauthorized
    given = last_event_id if last_event_id is not None else since
    async with db.snapshot(principal.owner) as tx:
        last = await last_seq(tx, conversation_id, owner=principal.owner)
    if last is None:
        raise NotFound
    cursor = parse_event_cursor(given if given is not None else str(last))
    if cursor.seq > last:
        raise CursorAhead
    shutdown = Shutdown()
    return answered_by(
        framed(
            event_stream(
                db=db,
                feed=feed,
                conversation_id=conversation_id,
                owner=principal.owner,
                cursor=cursor,
                expires_at=principal.expires_at,
                access=principal.access,
                lifetime=settings.parley_stream_lifetime_seconds,
                shutdown=shutdown,
            )
        ),
        shutdown=shutdown,
    )


router = Router(
    "/api/chat/conversations/{conversation_id:uuid}/events",
    route_handlers=[follow],
    tags=["events"],
)
