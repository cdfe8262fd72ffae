"""Our to-do tools for the agents of others, by the Model Context Protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from litestar import Router, post
from litestar.types import ASGIApp

from api.deps import Db, Jar, Owned
from api.openapi import also, body, described, problems
from api.request import JSON, JsonRequest
from api.rpc import RpcAnswer, RpcRequest, error
from api.samples import RPC_ANSWER, RPC_REQUEST
from shared import VERSION
from shared.errors import (
    BodyTooLarge,
    FieldError,
    InvalidRequest,
    OriginRefused,
    UnsupportedMediaType,
)

WRONG_VERSION = error(-32022, "Unsupported protocol version", id=1)
NO_METHOD = error(-32601, "Method not found", id=1)
NOT_ACCEPTABLE = error(-32600, "Not Acceptable: Client must accept application/json")


@post(
    "/",
    status_code=200,
    summary="Use the to-do tools by MCP",
    description="A server of the Model Context Protocol (streamable HTTP, stateless): give this "
    "URL and a token to any MCP client. `create_task`, `list_tasks`, `update_task`, "
    "`complete_task` and `delete_task` act on the tasks of the token's owner; each call is one "
    "transaction. Requests are answered with JSON, notifications with 202; there is no stream to "
    "GET. What is no message of JSON-RPC is answered with a problem, what the protocol refuses "
    "with an error of its own. A request that names an `Origin` must come from this host or from "
    "one of `PARLEY_CORS_ORIGINS`.",
    responses=described(
        {
            200: ("The answer, which may be an error of JSON-RPC.", RpcAnswer, RPC_ANSWER),
            202: ("A notification, taken note of.", None, None),
            404: (
                "There is no such method (as of version 2026-07-28 of the protocol; before, 200).",
                *(RpcAnswer, NO_METHOD),
            ),
            406: (
                "`Accept` leaves out JSON. As of version 2026-07-28 there is no body.",
                *(RpcAnswer, NOT_ACCEPTABLE),
            ),
        }
    )
    | problems(InvalidRequest, BodyTooLarge, UnsupportedMediaType),
    # Ours is a problem, the SDK's an answer.
    operation_class=also(400, JSON, WRONG_VERSION, like=200),
)
async def mcp(
    request: JsonRequest,
    principal: Owned,
    db: Db,
    jar: Jar,
    data: Annotated[RpcRequest, body("A message of JSON-RPC.", RPC_REQUEST)],  # noqa: ARG001
) -> ASGIApp:
    # A page of another origin must not speak to us. In development one whose own name leads here
    # could: it has no token and no cookie of ours.
    if "origin" in request.headers and not jar.names_known_origin(request):
        raise OriginRefused
    # Whole numbers are taken for ids however they are written, but not by the SDK.
    if isinstance((await request.json()).get("id"), float):
        raise InvalidRequest(errors=[FieldError("id", "Must be an integer or a text")])
    # In a thread: it takes long the first time, and others are being served.
    answering = await asyncio.to_thread(load)
    return answering(await request.body(), db=db, owner=principal.owner, version=VERSION)


def load() -> Callable[..., ASGIApp]:
    from api.mcp_server import answering

    return answering


router = Router("/mcp", route_handlers=[mcp], tags=["tasks"])
