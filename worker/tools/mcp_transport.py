"""How an MCP server is reached: over HTTP, or as a process that we start."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from ssl import SSLContext
from typing import Any, assert_never

import httpx2
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from worker.tools.servers import HttpServer, Server, StdioServer

CONNECT_SECONDS = 5.0
LATER_SECONDS = 5.0
"""The call's own time limit is to be the first to end it."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
PLAIN = {"Accept-Encoding": "identity"}
"""What is packed can be as large as it likes."""


class Transports:
    """What all connections of a worker share: how certificates are checked, and nothing else."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @cached_property
    def _ssl(self) -> SSLContext:
        return httpx2.create_ssl_context()

    @asynccontextmanager
    async def to(self, server: Server, owner: str) -> AsyncGenerator[Any]:
        """The streams of a new connection. Raises UnfitValueError, and whatever goes wrong."""
        match server:
            case HttpServer():
                async with self._http(server, owner) as streams:
                    yield streams
            case StdioServer():
                async with self._stdio(server, owner) as streams:
                    yield streams
            case _:
                assert_never(server)

    @asynccontextmanager
    async def _http(self, server: HttpServer, owner: str) -> AsyncGenerator[Any]:
        """No proxy and no .netrc of the environment: headers go to the configured host alone. A
        redirect to anywhere else is not followed (the SDK's doing).
        """
        headers = PLAIN | server.headers_for(owner, self._environment)
        timeout = httpx2.Timeout(server.timeout_seconds + LATER_SECONDS, connect=CONNECT_SECONDS)
        transport = Bounded(httpx2.AsyncHTTPTransport(verify=self._ssl, trust_env=False))
        async with (
            httpx2.AsyncClient(
                headers=headers, timeout=timeout, transport=transport, trust_env=False
            ) as client,
            streamable_http_client(server.url, http_client=client) as streams,
        ):
            yield streams

    @asynccontextmanager
    async def _stdio(self, server: StdioServer, owner: str) -> AsyncGenerator[Any]:
        """Its environment is PATH, HOME and their like, and what the configuration gives it; it
        ends with the connection. What it writes to stderr is dropped: it may be anybody's text.
        """
        command, *arguments = server.command
        environment = server.env_for(owner, self._environment)
        parameters = StdioServerParameters(command=command, args=arguments, env=environment)
        with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230 (nothing to wait for)
            async with stdio_client(parameters, errlog=nowhere) as streams:
                yield streams


class Bounded(httpx2.AsyncBaseTransport):
    """Gives up on an answer that is too long to be read into memory."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise httpx2.DecodingError("The answer is packed.", request=request)
        answer.stream = BoundedStream(answer.stream)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for piece in self._inner:
            count += len(piece)
            if count > MAX_ANSWER_BYTES:
                raise httpx2.StreamError("The answer is too long.")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
