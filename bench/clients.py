"""Clients that cost next to nothing: they look for marks in what they are sent and parse little.

A client has one conversation. `turn` says something and waits for the whole answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Protocol, cast

ANSWER_SECONDS = 180.0
IDLE_SECONDS = 3.0
END_OF_HEAD = re.compile(rb"\r\n\r\n")
END_OF_EVENT = re.compile(rb"\n\n")
END_OF_BODY = re.compile(rb"\r\n0\r\n\r\n")
# An answer that was there all at once may be committed before a piece of it was told.
FIRST_TOKEN = re.compile(rb'event: message\.delta|"role":"assistant"')
TURN = re.compile(rb"event: turn\.updated")
NAIVE_TOKEN = re.compile(rb"event: delta")
NAIVE_DONE = re.compile(rb"event: done")


class TurnFailed(Exception):
    """What the server said instead of an answer."""


@dataclass(frozen=True)
class Timing:
    """Seconds from the moment the question was sent."""

    accepted: float
    first_token: float
    done: float


class Client(Protocol):
    async def begin(self) -> None:
        """Has a new conversation to talk in."""

    async def turn(self, text: str) -> Timing: ...

    async def close(self) -> None: ...


class Wire(asyncio.Protocol):
    """What a connection says, from mark to mark."""

    def __init__(self) -> None:
        self._heard = bytearray()
        self._mark: re.Pattern[bytes] | int = 0
        self._found: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport
        self._used = time.perf_counter()
        self.heard_at = 0.0
        """When what `until` found last had come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._used = time.perf_counter()
        self._heard += data
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._found is not None and not self._found.done():
            self._found.set_exception(TurnFailed(f"hung up: {exc}"))

    def _look(self) -> None:
        if self._found is None or self._found.done():
            return
        if isinstance(self._mark, int):
            found = (self._mark, self._mark) if len(self._heard) >= self._mark else None
        else:
            match = self._mark.search(self._heard)
            found = match.span() if match else None
        if found:
            self.heard_at = time.perf_counter()
            before = bytes(self._heard[: found[0]])
            del self._heard[: found[1]]
            self._found.set_result(before)

    async def until(self, mark: re.Pattern[bytes] | int) -> bytes:
        """What was said before the mark, which is taken off too, or so many bytes."""
        if self._transport.is_closing():
            raise TurnFailed("hung up")
        self._mark = mark
        self._found = asyncio.get_running_loop().create_future()
        self._look()
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._found

    def forget(self) -> None:
        self._heard.clear()

    def write(self, request: bytes) -> None:
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    @property
    def stale(self) -> bool:
        """Servers close what is idle, perhaps at this very moment."""
        return self._transport.is_closing() or time.perf_counter() - self._used > IDLE_SECONDS

    async def answer(self) -> bytes:
        """The body of an answer that names its length. Raises TurnFailed unless it is a success."""
        head = (await self.until(END_OF_HEAD)).lower()
        status = head.split(b" ", 2)[1]
        body = await self.until(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        if not status.startswith(b"2"):
            raise TurnFailed(f"{status.decode()}: {body[:300].decode(errors='replace')}")
        return body


async def connect(port: int) -> Wire:
    _, wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", port)
    return wire


def request(method: str, path: str, token: str, body: dict[str, str] | None = None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class ParleyClient:
    """Posts on one connection, follows on another, which stays open from turn to turn."""

    def __init__(self, post_port: int, stream_port: int, token: str) -> None:
        self._ports = post_port, stream_port
        self._token = token

    async def begin(self) -> None:
        self._post, self._stream = [await connect(port) for port in self._ports]
        self._post.write(request("POST", "/api/chat/conversations", self._token, {}))
        conversation = json.loads(await self._post.answer())
        path = f"/api/chat/conversations/{conversation['id']}"
        self._messages = f"{path}/messages"
        self._stream.write(request("GET", f"{path}/events", self._token))
        head = await self._stream.until(END_OF_HEAD)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise TurnFailed(head.decode())

    async def turn(self, text: str) -> Timing:
        self._stream.forget()
        if self._post.stale:
            self._post.close()
            self._post = await connect(self._ports[0])
        began = time.perf_counter()
        self._post.write(request("POST", self._messages, self._token, {"content": text}))
        await self._post.answer()
        accepted = self._post.heard_at
        await self._stream.until(FIRST_TOKEN)
        first = self._stream.heard_at
        while True:
            await self._stream.until(TURN)
            turn = await self._stream.until(END_OF_EVENT)
            if b'"status":"completed"' in turn:
                break
            if b'"status":"failed"' in turn or b'"status":"cancelled"' in turn:
                raise TurnFailed(turn.decode())
        return Timing(accepted - began, first - began, self._stream.heard_at - began)

    async def close(self) -> None:
        self._post.close()
        self._stream.close()


class NaiveClient:
    """The answer to its POST is the stream."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    async def begin(self) -> None:
        self._wire = await connect(self._port)
        self._wire.write(request("POST", "/conversations", self._token))
        conversation = json.loads(await self._wire.answer())
        self._messages = f"/conversations/{conversation['id']}/messages"

    async def turn(self, text: str) -> Timing:
        if self._wire.stale:
            self._wire.close()
            self._wire = await connect(self._port)
        began = time.perf_counter()
        self._wire.write(request("POST", self._messages, self._token, {"content": text}))
        head = await self._wire.until(END_OF_HEAD)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise TurnFailed(head.decode())
        accepted = self._wire.heard_at
        await self._wire.until(NAIVE_TOKEN)
        first = self._wire.heard_at
        await self._wire.until(NAIVE_DONE)
        done = self._wire.heard_at
        await self._wire.until(END_OF_BODY)
        return Timing(accepted - began, first - began, done - began)

    async def close(self) -> None:
        self._wire.close()
