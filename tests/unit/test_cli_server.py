"""The chat client's side of the wire, against a small real server that cuts and refuses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from uuid import UUID

import msgspec
import pytest

from api.samples import CONVERSATION, SUBMITTED, TURN
from cli.errors import ServerError
from cli.server import CONVERSATIONS, TURNS, Server
from shared.events import MessageDelta, StreamClosing

TEXT = "Hello there"
PIECE = 4


class Cutting(BaseHTTPRequestHandler):
    """Sends one piece of the text from the cursor on, then drops the connection."""

    cursors: list[str]
    said: list[str]
    keys: list[str]
    bodies: list[bytes]
    faults: list[int]
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
        """Takes what is said; a fault of 0 is to die before it says so."""
        self.said.append(self.path)
        self.keys.append(self.headers["Idempotency-Key"])
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        match self.faults.pop(0) if self.faults else None:
            case None:
                kind = self.path.rsplit("/", 1)[-1]
                made = {"messages": SUBMITTED, "cancel": TURN}.get(kind, CONVERSATION)
                self.answer(200, "application/json", msgspec.json.encode(made).decode())
            case 0:
                pass
            case status:
                self.answer(status, "application/problem+json", '{"detail":"Away"}')

    def answer(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def handler() -> type[Cutting]:
    lists = ("cursors", "said", "keys", "bodies", "faults")
    return type("Handler", (Cutting,), {name: [] for name in lists})


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


@pytest.mark.parametrize("fault", [0, 503, 500, 429])
def test_what_may_have_arrived_is_sent_again_under_the_same_key(
    server: Server, handler: type[Cutting], fault: int
) -> None:
    handler.faults = [fault, fault]
    assert server.say("1", "Hello").message == SUBMITTED.message
    handler.faults = [fault]
    assert server.say("1", "Hello").turn == SUBMITTED.turn
    first, second = handler.keys[:3], handler.keys[3:]
    assert len(set(first)) == len(set(second)) == 1
    assert len({*first, *second, None}) == 3
    assert handler.bodies == [b'{"content":"Hello"}'] * 5


def test_every_post_has_a_key(server: Server, handler: type[Cutting]) -> None:
    assert server.create_conversation() == CONVERSATION
    server.say("1", "Hello")
    assert server.cancel(TURN) == TURN
    assert handler.said == [
        CONVERSATIONS,
        f"{CONVERSATIONS}/1/messages",
        f"{TURNS}/{TURN.id}/cancel",
    ]
    assert len({*handler.keys, None}) == 4


def test_what_was_refused_is_not_sent_again(server: Server, handler: type[Cutting]) -> None:
    handler.faults = [422]
    with pytest.raises(ServerError, match="Away"):
        server.say("1", "Hello")
    assert len(handler.keys) == 1


def test_after_some_time_it_is_told_that_the_message_may_have_arrived(
    server: Server, handler: type[Cutting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.server.PATIENCE_SECONDS", 0.05)
    handler.faults = [0] * 10
    with pytest.raises(ServerError, match="not known"):
        server.say("1", "Hello")
    assert len(set(handler.keys)) == 1


def test_what_never_arrived_is_in_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.server.PATIENCE_SECONDS", 0.05)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with (
            Server(address, "token") as server,
            pytest.raises(ServerError, match="does not answer") as told,
        ):
            server.say("1", "Hello")
    assert "not known" not in str(told.value)
