"""A model server that costs next to nothing: `python -m bench.provider PORT`.

It speaks Chat Completions over HTTP/1.1 with keep-alive and streams an answer that was made once.
A question with the words of a `Pace` in it gets tokens at that pace; any other 32 at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, NamedTuple, cast

import uvloop


class Pace(NamedTuple):
    words: str
    first: float
    """Seconds to the first token."""
    between: float
    tokens: int

    @property
    def seconds(self) -> float:
        """Of the whole answer."""
        return self.first + (self.tokens - 1) * self.between


BRISK = Pace("at a brisk pace", 0.3, 0.015, 40)
LEISURELY = Pace("at leisure", 2.0, 1.0, 20)
PACES = (BRISK, LEISURELY)
TOKENS = 32

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def piece(choices: list[dict[str, Any]], **more: Any) -> bytes:
    """One chunk of the answer as a provider sends it, in an HTTP chunk of its own."""
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "bench",
        "choices": choices,
    } | more
    line = f"data: {json.dumps(chunk)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(line), line)


def token(number: int) -> bytes:
    change = {"content": f"token{number} "} | ({} if number else {"role": "assistant"})
    return piece([{"index": 0, "delta": change, "finish_reason": None}])


def end() -> bytes:
    usage = {"prompt_tokens": 50, "completion_tokens": TOKENS, "total_tokens": 50 + TOKENS}
    last = piece([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return last + piece([], usage=usage) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


PIECES = [token(number) for number in range(max(pace.tokens for pace in PACES))]
END = end()
AT_ONCE = b"".join([HEAD, *PIECES[:TOKENS], END])


class Provider(asyncio.Protocol):
    """One connection; a request is answered before the next one is read."""

    def __init__(self) -> None:
        self._asked = bytearray()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        head, separator, body = self._asked.partition(b"\r\n\r\n")
        if not separator or len(body) < length_of(head):
            return
        self._asked.clear()
        if head.startswith(b"GET"):
            self._transport.write(HEALTHY)
        elif pace := pace_of(bytes(body)):
            self._transport.write(HEAD)
            asyncio.get_running_loop().call_later(pace.first, self._send, pace, 0)
        else:
            self._transport.write(AT_ONCE)

    def _send(self, pace: Pace, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == pace.tokens:
            self._transport.write(END)
            return
        self._transport.write(PIECES[number])
        loop = asyncio.get_running_loop()
        loop.call_later(pace.between, self._send, pace, number + 1)


def pace_of(body: bytes) -> Pace | None:
    """That of the last question: those before it are in the history."""
    found = [(body.rfind(pace.words.encode()), pace) for pace in PACES]
    at, pace = max(found)
    return pace if at >= 0 else None


def length_of(head: bytes | bytearray) -> int:
    _, found, after = bytes(head).lower().partition(b"content-length:")
    return int(after.split(b"\r\n", 1)[0]) if found else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        Provider, "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
