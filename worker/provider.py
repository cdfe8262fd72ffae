"""A model provider over HTTP: one request, and the chunks of its answer as they come.

The protocol is OpenAI's Chat Completions, streamed, as most providers speak it. A provider's own
words never leave this file: what goes wrong is named by errors of ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from worker.failures import ModelInvalid, ModelRejected, ModelTimeout, ModelUnreachable

CONNECT_SECONDS = 10.0
REST_SECONDS = 0.05
"""For the end of the connection's answer, which follows the end of the model's."""
MAX_LINE_BYTES = 64 * 1024 * 1024
DATA = b"data:"
DONE = b"[DONE]"


class FunctionPiece(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(msgspec.Struct):
    """A piece of a tool call; pieces of one call have the same `index`."""

    index: int | None = None
    function: FunctionPiece | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: msgspec.Raw | None = None


_chunk = msgspec.json.Decoder(Chunk)


class Provider:
    """One client a process: its connections are kept for the next request."""

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "parley",
        }
        self._proxy = proxy_for(self._url)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[list[Chunk]]:
        """The answer's chunks, as many at once as have come; the last come with the stream's end.

        Raises ModelUnreachable, ModelRejected, ModelInvalid, or ModelTimeout where no connection
        can be made in time. How long the answer may take is the caller's affair.
        """
        request = msgspec.json.encode(body | {"stream": True})
        try:
            async with await self._ask(request) as response:
                if response.status != 200:
                    raise ModelRejected(response.status, response.headers.get("Retry-After", ""))
                reader = Reader()
                async for data in response.content.iter_any():
                    if chunks := reader.read(data):
                        yield chunks
                    if reader.done:
                        await _rest(response)
                        return
        except TimeoutError:
            # The caller's own limit comes as a cancellation, so this one is the connection's.
            raise ModelTimeout from None
        except aiohttp.InvalidURL:
            raise ModelInvalid from None
        except aiohttp.ClientError:
            raise ModelUnreachable from None

    async def _ask(self, request: bytes) -> aiohttp.ClientResponse:
        """Once more where the connection, kept from before, was closed as we asked. Providers do
        that to idle ones, and a model that was asked twice has done no harm.
        """
        try:
            return await self._post(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._post(request)

    async def _post(self, request: bytes) -> aiohttp.ClientResponse:
        return await self._client().post(
            self._url,
            data=request,
            headers=self._headers,
            proxy=self._proxy,
            allow_redirects=False,
        )

    def _client(self) -> aiohttp.ClientSession:
        """Made when it is first used: it belongs to the loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
                read_bufsize=1024 * 1024,
            )
        return self._session


def proxy_for(url: str) -> str | None:
    """The one that the environment names, as for other programs (`HTTPS_PROXY`, `NO_PROXY`).

    aiohttp can find out by itself, but then it also reads a file of passwords for each request.
    """
    asked = urlsplit(url)
    if proxy_bypass(asked.netloc):
        return None
    return getproxies().get(asked.scheme)


class Reader:
    """Server-sent events out of bytes as they come, each of them one chunk in JSON."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""
        self._data: list[bytes] = []

    def read(self, data: bytes) -> list[Chunk]:
        """The chunks that are complete by now. Raises ModelInvalid."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise ModelInvalid
        return list(self._chunks(lines))

    def _chunks(self, lines: list[bytes]) -> Iterator[Chunk]:
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(DATA):
                self._data.append(text[len(DATA) :].strip())
            elif not text and self._data:
                event, self._data = b"\n".join(self._data), []
                if event.startswith(DONE):
                    self.done = True
                    return
                yield chunk_of(event)


def chunk_of(event: bytes) -> Chunk:
    """Raises ModelInvalid."""
    try:
        chunk = _chunk.decode(event)
    except msgspec.DecodeError:
        chunk = _lenient(event)
    if chunk.error is not None and bytes(chunk.error) != b"null":
        raise ModelInvalid
    return chunk


def _lenient(event: bytes) -> Chunk:
    """Half an emoji is no text to a strict decoder; its other half may be in the next piece."""
    try:
        return msgspec.convert(json.loads(event), Chunk)
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise ModelInvalid from None


async def _rest(response: aiohttp.ClientResponse) -> None:
    """A connection can only be used again once its answer was read to the end."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(REST_SECONDS):
            await response.content.read()
