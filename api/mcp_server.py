"""The to-do tools as an MCP server, with the protocol's own SDK.

A server is made for each request and knows its owner; nothing is kept between two of them. Loading
the SDK costs more than all the rest of an API's start, so `routes/mcp.py` loads this file when
somebody first asks for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from api.errors import INTERNAL
from api.request import JSON
from shared.db import Database
from shared.errors import RequestError, Unavailable
from shared.tasks import TASK_TOOLS
from shared.tool import ToolError, arguments_schema, parse_arguments

log = structlog.get_logger()

TOOLS = {tool.name: tool for tool in TASK_TOOLS}
READ_ONLY = frozenset({"list_tasks"})
DESTRUCTIVE = frozenset({"delete_task"})
SHOWN = [
    Tool(
        name=tool.name,
        description=tool.description,
        input_schema=arguments_schema(tool.arguments),
        annotations=ToolAnnotations(
            read_only_hint=tool.name in READ_ONLY, destructive_hint=tool.name in DESTRUCTIVE
        ),
    )
    for tool in TASK_TOOLS
]


def answering(body: bytes, *, db: Database, owner: str, version: str) -> ASGIApp:
    """What answers this one request, on behalf of its owner."""

    async def list_tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=SHOWN)

    async def call_tool(_: Any, asked: CallToolRequestParams) -> CallToolResult:
        return await call(asked.name, asked.arguments or {}, db=db, owner=owner)

    server = Server("parley", version=version, on_list_tools=list_tools, on_call_tool=call_tool)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # The body was read, and judged, before we were asked: also that it is JSON. The SDK takes
        # that in lower case only.
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", JSON.encode())]
        read = False

        async def again() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, again, send)  # pyright: ignore[reportArgumentType]

    return answer


async def call(name: str, arguments: dict[str, Any], *, db: Database, owner: str) -> CallToolResult:
    """One transaction with its effect. What the tool can't do is a result that a model can read."""
    tool = TOOLS.get(name)
    if tool is None:
        raise MCPError(INVALID_PARAMS, "There is no such tool.")
    try:
        wanted = parse_arguments(tool.arguments, arguments)
        async with db.transaction(owner) as tx:
            found = await tool.run(tx, owner, wanted)
    except ToolError as error:
        return result_of(error.result, failed=True)
    except RequestError:
        raise MCPError(INTERNAL_ERROR, f"{Unavailable.title}.") from None
    except Exception as error:
        log.error("mcp_call_failed", tool=name, error=type(error).__name__)
        raise MCPError(INTERNAL_ERROR, INTERNAL.detail) from None
    return result_of(found)


def result_of(found: Any, *, failed: bool = False) -> CallToolResult:
    """The same twice: as values, and as text for clients that know no values."""
    text = TextContent(type="text", text=msgspec.json.encode(found).decode())
    values = msgspec.to_builtins(found)
    return CallToolResult(content=[text], structured_content=values, is_error=failed)
