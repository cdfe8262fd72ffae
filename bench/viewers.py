"""Many viewers of event streams in one process, for as little CPU as it can be done with.

An HTTP client would take more than the server that is measured. These only count while the bytes
come; what was told is read afterwards, and strictly (`Viewer.events`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

from cli.verify.sse import Event, Parser

# Of one length, so that what comes in two pieces is counted, and counted once.
EVENT, PING = b"event: ", b"\n: ping"
TAIL = len(EVENT) - 1
GOOD = b"HTTP/1.1 200 "
HEAD_END = b"\r\n\r\n"
AT_ONCE = 40
OPEN_SECONDS = 60


class Viewer(asyncio.Protocol):
    """One connection with one stream, told of in `request`."""

    def __init__(self, request: bytes, audience: Audience) -> None:
        self.pings = 0
        self.open = False
        self.answered = asyncio.get_running_loop().create_future()
        self._request = request
        self._audience = audience
        self._said: list[bytes] = []
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._said:
            self.open = data.startswith(GOOD)
            self.answered.set_result(self.open)
        self._said.append(data)
        seen = self._tail + data
        self._tail = seen[-TAIL:]
        self.pings += seen.count(PING)
        if events := seen.count(EVENT):
            self._audience.heard(events)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the protocol
        self.open = False
        if not self.answered.done():
            self.answered.set_result(False)

    def close(self) -> None:
        self._transport.abort()

    def events(self) -> list[Event]:
        """All that were told so far. Raises FormError."""
        _, _, body = b"".join(self._said).partition(HEAD_END)
        return list(Parser().feed(unchunked(body)))


class Audience:
    """All viewers, and how many events they have heard together."""

    def __init__(self, url: str) -> None:
        self.viewers: list[Viewer] = []
        self.events = 0
        self._awaited = 0
        self._enough = asyncio.Event()
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._places = asyncio.Semaphore(AT_ONCE)

    @property
    def open(self) -> int:
        return sum(viewer.open for viewer in self.viewers)

    @property
    def pinged(self) -> int:
        """How many have heard a ping since `forget_pings`."""
        return sum(viewer.open and viewer.pings > 0 for viewer in self.viewers)

    def forget_pings(self) -> None:
        for viewer in self.viewers:
            viewer.pings = 0

    async def come(self, wanted: Sequence[tuple[UUID, str]]) -> None:
        """One viewer for each pair of a conversation and a token, all of them answered."""
        async with asyncio.timeout(OPEN_SECONDS + len(wanted) / 20):
            opened = await asyncio.gather(*(self._open(*stream) for stream in wanted))
        assert all(opened), f"{len(opened) - sum(opened)} streams were refused"

    async def heard_by_all(self, events: int, *, seconds: float) -> None:
        """Until every viewer has heard so many, if none heard more than the others."""
        self._awaited = events * len(self.viewers)
        self._enough.clear()
        self.heard(0)
        async with asyncio.timeout(seconds):
            await self._enough.wait()

    def heard(self, events: int) -> None:
        self.events += events
        if self.events >= self._awaited:
            self._enough.set()

    def leave(self) -> None:
        for viewer in self.viewers:
            viewer.close()
        self.viewers.clear()

    async def _open(self, conversation_id: UUID, token: str) -> bool:
        request = (
            f"GET /api/chat/conversations/{conversation_id}/events HTTP/1.1\r\n"
            f"Host: {self._host}:{self._port}\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        async with self._places:
            _, viewer = await loop.create_connection(
                lambda: Viewer(request.encode(), self), self._host, self._port
            )
            self.viewers.append(viewer)
            opened: bool = await viewer.answered
            return opened


def unchunked(body: bytes) -> bytes:
    """The pieces that are whole."""
    pieces: list[bytes] = []
    at = 0
    while (line := body.find(b"\r\n", at)) >= 0:
        begins, size = line + 2, int(body[at:line], 16)
        if begins + size > len(body):
            break
        pieces.append(body[begins : begins + size])
        at = begins + size + 2
    return b"".join(pieces)
