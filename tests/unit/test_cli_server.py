"""The chat client's side of the wire, against a small real server that cuts and refuses."""

from __future__ import annotations

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from uuid import UUID

import pytest

from cli.errors import ServerError
from cli.server import Server
from shared.events import MessageDelta, StreamClosing

TEXT = "Hello there"
PIECE = 4


class Cutting(BaseHTTPRequestHandler):
    """Sends one piece of the text from the cursor on, then drops the connection."""

    cursors: list[str]
    said: list[str]
    status = 200

    def do_GET(self) -> None:
        cursor = self.headers["Last-Event-ID"]
        self.cursors.append(cursor)
        if self.status != 200:
            self.answer(self.status, "application/problem+json", '{"detail":"No such thing"}')
            return
        told = int(cursor.partition(":")[2] or 0)
        piece = TEXT[told : told + PIECE]
        data = (
            f'{{"turn_id":"{UUID(int=1)}","message_id":"{UUID(int=2)}","attempt":1,'
            f'"offset":{told},"text":"{piece}"}}'
        )
        closing = 'event: stream.closing\ndata: {"reason":"lifetime"}\n\n'
        unknown = "event: something.new\ndata: {}\n\n"
        self.answer(
            200,
            "text/event-stream",
            f"retry: 10\n: hello\n\n{unknown}"
            f"id: 7:{told + len(piece)}\nevent: message.delta\ndata: {data}\n\n{closing}",
        )

    def do_POST(self) -> None:
        """Takes what is said and dies before it says so."""
        self.said.append(self.path)
        if self.status != 200:
            self.answer(self.status, "application/problem+json", '{"detail":"Away"}')
        self.close_connection = True

    def answer(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def handler() -> type[Cutting]:
    return type("Handler", (Cutting,), {"cursors": [], "said": []})


@pytest.fixture
def server(handler: type[Cutting]) -> Generator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        with Server(f"http://127.0.0.1:{listener.server_port}", "token") as client:
            yield client
        listener.shutdown()
        thread.join()


def test_a_stream_goes_on_where_the_connection_was_cut(
    server: Server, handler: type[Cutting]
) -> None:
    events = server.follow("1", "7").events()
    pieces = [event for event in islice(events, 6) if isinstance(event, MessageDelta)]
    events.close()
    assert "".join(piece.text for piece in pieces) == TEXT
    assert handler.cursors == ["7", "7:4", "7:8"]


def test_after_a_gap_the_text_is_asked_for_from_the_last_change(
    server: Server, handler: type[Cutting]
) -> None:
    follower = server.follow("1", "7")
    events = follower.events()
    next(events)
    follower.from_last_change()
    assert isinstance(next(events), MessageDelta)
    events.close()
    assert handler.cursors == ["7", "7"]


def test_the_server_can_say_goodbye(server: Server) -> None:
    events = server.follow("1", "7").events()
    assert list(islice(events, 2))[1] == StreamClosing("lifetime")
    events.close()


def test_a_refusal_is_told_in_the_servers_words(server: Server, handler: type[Cutting]) -> None:
    handler.status = 404
    with pytest.raises(ServerError, match="No such thing"):
        next(server.follow("1", "7").events())


@pytest.mark.parametrize("status", [200, 503])
def test_a_message_that_may_have_arrived_is_not_said_twice(
    server: Server, handler: type[Cutting], status: int
) -> None:
    handler.status = status
    with pytest.raises(ServerError, match="not known"):
        server.say("1", "Hello")
    assert len(handler.said) == 1
