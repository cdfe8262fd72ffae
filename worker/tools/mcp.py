"""Tools of MCP servers: connected to for one attempt at a turn, on behalf of its owner.

A server that is away, slow or broken costs the turn its tools and nothing else. Each connection
lives in a task of its own, for the protocol's SDK cancels the task it is used in when it breaks.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import msgspec
import structlog
from mcp import Client, MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND
from mcp_types import Tool as ListedTool

from shared.text import sanitise
from shared.tool import ToolError
from worker.tools.mcp_results import result_of
from worker.tools.mcp_transport import Transports
from worker.tools.servers import Server
from worker.tools.tool import OutsideTool, clean_value

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
"""For the connection and the list of tools; the model waits for it."""
CLOSE_SECONDS = 2.0
MAX_PAGES = 10
MAX_DESCRIPTION_CHARS = 4000
MAX_SCHEMA_BYTES = 50_000
REFUSALS = frozenset({METHOD_NOT_FOUND, INVALID_PARAMS})
"""Errors by which a server says that it did not begin."""
KEY = "parley/idempotency-key"
"""In `_meta` of a call: the same when the call is repeated."""

Outside = OutsideTool[dict[str, Any]]


class Servers:
    """The servers a worker may connect to, and the connections it has."""

    def __init__(
        self,
        servers: Sequence[Server] = (),
        environment: Mapping[str, str] = os.environ,
        *,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.prefixes = tuple(server.shown("") for server in servers)
        self._servers = servers
        self._transports = Transports(environment)
        self._connect_seconds = connect_seconds
        self._keeping: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connected(self, owner: str) -> AsyncGenerator[list[Outside]]:
        """The tools of those that answer. Afterwards the connections are ended, in the background:
        nobody waits for that.
        """
        connections = [Connection(server, owner, self._transports) for server in self._servers]
        deadline = asyncio.get_running_loop().time() + self._connect_seconds
        try:
            for connection in connections:
                self._keep(connection)
            found = [await connection.tools(deadline) for connection in connections]
            yield [tool for tools in found for tool in tools]
        finally:
            for connection in connections:
                connection.end()

    def _keep(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.keep(self._connect_seconds))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def close(self) -> None:
        """Once no turn runs any more: lets the last connections end."""
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=CONNECT_SECONDS)


class Connection:
    def __init__(self, server: Server, owner: str, transports: Transports) -> None:
        self._server = server
        self._owner = owner
        self._transports = transports
        self._client: Client | None = None
        self._listed: list[ListedTool] = []
        self._scope: anyio.CancelScope | None = None
        self._settled = asyncio.Event()
        """It is made, or never will be."""
        self._over = asyncio.Event()
        self._broken = asyncio.Event()

    async def keep(self, connect_seconds: float) -> None:
        """Connects, asks for the tools, and holds the connection until `end`. Raises nothing."""
        try:
            with anyio.move_on_after(connect_seconds) as scope:
                self._scope = scope
                transport = self._transports.to(self._server, self._owner)
                async with Client(transport, cache=None) as client:
                    self._listed = await listed(client)
                    self._client = client
                    scope.deadline = math.inf
                    self._settled.set()
                    await self._over.wait()
                    scope.deadline = anyio.current_time() + CLOSE_SECONDS
            if scope.cancelled_caught and not self._over.is_set():
                self._note("TimeoutError")
        except Exception as error:
            if not self._over.is_set():
                self._note(kind_of(error))
        finally:
            self._client = None
            self._broken.set()
            self._settled.set()

    def end(self) -> None:
        self._over.set()
        if self._scope is not None and not self._settled.is_set():
            self._scope.cancel()

    async def tools(self, deadline: float) -> list[Outside]:
        """Those of the allow-list that the server has; none if it can't be reached by then. A
        process that has to be made to end may take longer: nobody waits for that.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._settled.wait()
        if self._client is None:
            return []
        found = {tool.name: tool for tool in self._listed}
        missing = [name for name in self._server.tools if name not in found]
        if missing:
            log.warning("mcp_tools_missing", server=self._server.name, tools=missing)
        return [
            self._tool(found[name])
            for name in self._server.tools
            if name in found and self._is_fit(found[name])
        ]

    def _tool(self, tool: ListedTool) -> Outside:
        server = self._server
        return OutsideTool(
            name=server.shown(tool.name),
            description=sanitise(tool.description or "")[:MAX_DESCRIPTION_CHARS],
            arguments=clean_value(tool.input_schema),
            run=partial(self._call, tool.name),
            idempotent=tool.name in server.idempotent,
            approval=tool.name in server.approval,
            timeout_seconds=server.timeout_seconds,
        )

    def _is_fit(self, tool: ListedTool) -> bool:
        """Providers refuse the whole request for one schema they don't like."""
        schema = clean_value(tool.input_schema)
        small = len(msgspec.json.encode(schema)) <= MAX_SCHEMA_BYTES
        fit = schema.get("type") == "object" and small
        if not fit:
            log.warning("mcp_tool_unfit", server=self._server.name, tool=tool.name)
        return fit

    async def _call(self, name: str, _owner: str, key: str, arguments: dict[str, Any]) -> Any:
        """The connection is the owner's already. Raises ToolError."""
        if self._client is None:
            raise ToolError("tool_unavailable", "The tool's server can't be reached.")
        asked = self._client.call_tool(name, arguments, meta={KEY: key})
        calling, breaking = asyncio.create_task(asked), asyncio.create_task(self._broken.wait())
        try:
            await asyncio.wait({calling, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise unknown()
            return result_of(calling.result())
        except ToolError:
            raise
        except Exception as error:
            log.warning("mcp_call_failed", server=self._server.name, error=kind_of(error))
            refused = isinstance(error, MCPError) and error.code in REFUSALS
            raise (failed() if refused else unknown()) from None
        finally:
            calling.cancel()
            breaking.cancel()
            await asyncio.gather(calling, breaking, return_exceptions=True)

    def _note(self, error: str) -> None:
        log.warning("mcp_server_away", server=self._server.name, error=error)


async def listed(client: Client) -> list[ListedTool]:
    """Not one page more than a sane server has."""
    found: list[ListedTool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def kind_of(error: BaseException) -> str:
    """The name of its type; of the first one, where tasks have gathered several."""
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return kind_of(inner[0]) if inner else type(error).__name__


def unknown() -> ToolError:
    return ToolError(
        "outcome_unknown",
        "The tool's server gave no proper answer; whether the call had an effect is not known.",
    )


def failed() -> ToolError:
    return ToolError("tool_failed", "The tool failed.")
