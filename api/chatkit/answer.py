"""One request of the protocol and what answers it: JSON, or the stream of a turn.

The package's own server keeps the rows it is given by itself, and whoever leaves it cancels. Here a
request is committed first and the worker does the work; the stream only tells of it.
"""

from __future__ import annotations

from typing import Any

from chatkit.types import (
    ChatKitReq,
    ItemsFeedbackReq,
    ItemsListReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsDeleteReq,
    ThreadsGetByIdReq,
    ThreadsListReq,
    ThreadsRetryAfterItemReq,
    ThreadsUpdateReq,
)
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.chatkit.asking import add_message, begin_thread, retry_after
from api.chatkit.items import serialise
from api.chatkit.telling import stream_of
from api.chatkit.threads import (
    delete_thread,
    list_items,
    list_threads,
    rate_items,
    rename_thread,
    show_thread,
)
from api.chatkit.visitor import Visitor, refused
from api.request import JSON
from shared.errors import FieldError, InvalidRequest

MOST_ERRORS = 10
NOTHING = b"{}"
_requests: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


async def answering(body: bytes, visitor: Visitor) -> ASGIApp:
    """What answers this one request. Whatever is wrong with it is raised before a byte leaves."""
    asked = _parsed(body)
    match asked:
        case ThreadsCreateReq():
            followed = await begin_thread(visitor, asked.params.input)
            return await stream_of(visitor, followed, created=True)
        case ThreadsAddUserMessageReq():
            params = asked.params
            return await stream_of(
                visitor, await add_message(visitor, params.thread_id, params.input)
            )
        case ThreadsRetryAfterItemReq():
            return await stream_of(visitor, await retry_after(visitor, asked.params))
        case _:
            found = await _found(visitor, asked)
            content = NOTHING if found is None else serialise(found).encode()
            return ASGIResponse(body=content, media_type=JSON, status_code=200)


async def _found(visitor: Visitor, asked: Any) -> BaseModel | None:
    match asked:
        case ThreadsGetByIdReq():
            return await show_thread(visitor, asked.params.thread_id)
        case ThreadsListReq():
            return await list_threads(visitor, asked.params)
        case ItemsListReq():
            return await list_items(visitor, asked.params)
        case ThreadsUpdateReq():
            return await rename_thread(visitor, asked.params)
        case ThreadsDeleteReq():
            return await delete_thread(visitor, asked.params.thread_id)
        case ItemsFeedbackReq():
            return await rate_items(visitor, asked.params)
        case _:
            raise refused("type", "This part of the protocol is not supported here")


def _parsed(body: bytes) -> Any:
    try:
        return _requests.validate_json(body)
    except ValidationError as error:
        # Never the input itself: it may be what somebody said.
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequest(
            "The request is not one of the ChatKit protocol.",
            # The first step names the type that was asked for.
            [
                FieldError(".".join(map(str, one["loc"][1:])), one["msg"])
                for one in found[:MOST_ERRORS]
            ],
        ) from None
