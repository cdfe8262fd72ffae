"""ChatKit's server protocol: for those who embed its web component."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from api.chatkit.request import ANSWER, REQUEST, STREAM, STREAMED, ChatKitRequest
from api.deps import Configured, Db, Live, Owned, Repeatable, Ring
from api.idempotency import HEADER
from api.limits import IS_MESSAGE, OPENS_STREAM, Limits
from api.openapi import EVENT_STREAM, also, body, described, problems
from api.request import JsonRequest
from shared.errors import (
    BodyTooLarge,
    ChatKitNotInstalled,
    IdempotencyKeyReused,
    InvalidCursor,
    InvalidRequest,
    MessageNotRateable,
    NotFound,
    QueueFull,
    TooManyStreams,
    TurnNotRetryable,
    Unauthorized,
    UnsupportedMediaType,
)

PACKAGE = "chatkit"
SPEAKS = post(opt={IS_MESSAGE: True, OPENS_STREAM: True})
"""How a request that makes the agent work is counted; the route itself can't know which those are
before it has read them. It is no route.
"""

Answering = Callable[..., Awaitable[ASGIApp]]


@post(
    "/",
    status_code=200,
    summary="Speak the ChatKit protocol",
    description="The server's side of OpenAI's ChatKit, for its web component: threads are "
    "conversations, items are messages, under the same ids. `threads.create`, "
    "`threads.add_user_message` and `threads.retry_after_item` are answered with a stream of "
    "`data:` lines that tells of one turn and ends with it; leaving it cancels nothing. "
    "`threads.get_by_id`, `threads.list`, `threads.update`, `threads.delete`, `items.list` and "
    "`items.feedback` are answered with JSON, all other types of the protocol with 400. Under an "
    "`Idempotency-Key` a message is stored once. It needs the extra `parley[chatkit]`: 501 "
    "without it.",
    responses=described({200: ("The answer to what was asked.", dict[str, Any], ANSWER)})
    | problems(
        *(InvalidRequest, InvalidCursor, NotFound, BodyTooLarge, UnsupportedMediaType),
        *(TurnNotRetryable, MessageNotRateable, IdempotencyKeyReused),
        *(QueueFull, TooManyStreams, ChatKitNotInstalled),
    ),
    operation_class=also(200, EVENT_STREAM, STREAM),
)
async def chatkit(
    request: JsonRequest,
    principal: Owned,
    db: Db,
    feed: Live,
    jobs: Ring,
    once: Repeatable,
    settings: Configured,
    limits: NamedDependency[Limits],
    data: Annotated[ChatKitRequest, body("A request of the ChatKit protocol.", REQUEST)],
) -> ASGIApp:
    # In a thread: it takes long the first time, and others are being served.
    answering, visitor = await asyncio.to_thread(load)
    if data.type in STREAMED:
        if principal.expired:
            raise Unauthorized
        await limits.require(request, SPEAKS)
    asking = visitor(
        principal=principal,
        db=db,
        feed=feed,
        jobs=jobs,
        settings=settings,
        once=once,
        keyed=HEADER in request.headers,
    )
    return await answering(await request.body(), asking)


def load() -> tuple[Answering, Callable[..., Any]]:
    try:
        from api.chatkit.answer import answering
        from api.chatkit.visitor import Visitor
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != PACKAGE:
            raise
        raise ChatKitNotInstalled from None
    return answering, Visitor


router = Router("/chatkit", route_handlers=[chatkit], tags=["messages"])
