"""Ctrl-C in `parley chat`, a process of its own, against a small server that streams on cue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from api.samples import ASSISTANT_MESSAGE, CONVERSATION, SUBMITTED, TURN
from cli.server import CONVERSATIONS, TURNS
from shared.events import Event, MessageCreated, MessageDelta, TurnUpdated

SAID = "First words"
EVENTS = f"{CONVERSATIONS}/{CONVERSATION.id}/events"
CANCEL = f"{TURNS}/{TURN.id}/cancel"
CANCELLED = msgspec.structs.replace(TURN, status="cancelled")
KEPT = msgspec.structs.replace(ASSISTANT_MESSAGE, content=SAID, status="cancelled")


class Streaming(BaseHTTPRequestHandler):
    """Streams the first words, and the end once it was asked to cancel, unless it is deaf."""

    posted: list[str]
    cancelled: threading.Event
    deaf = False

    def do_GET(self) -> None:
        if self.path != EVENTS:
            self.answer(CONVERSATION)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.tell("2:11", MessageDelta(TURN.id, ASSISTANT_MESSAGE.id, 1, 0, SAID))
        self.cancelled.wait()
        self.tell("8", MessageCreated(8, KEPT))
        self.tell("9", TurnUpdated(9, CANCELLED))

    def do_POST(self) -> None:
        assert self.headers["Idempotency-Key"]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append(self.path)
        if self.path == CANCEL and not self.deaf:
            self.cancelled.set()
        made = {CONVERSATIONS: CONVERSATION, CANCEL: TURN}
        self.answer(made.get(self.path, SUBMITTED))

    def answer(self, made: Any) -> None:
        body = msgspec.json.encode(made)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def tell(self, cursor: str, event: Event) -> None:
        data = msgspec.to_builtins(event)
        name = data.pop("event")
        text = f"id: {cursor}\nevent: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def handler() -> type[Streaming]:
    return type("Handler", (Streaming,), {"posted": [], "cancelled": threading.Event()})


@pytest.fixture
def url(handler: type[Streaming]) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}"
        handler.cancelled.set()
        listener.shutdown()
        thread.join()


@dataclass
class Chat:
    """A running `parley chat`."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path
    typed: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        assert self.process.stdin is not None
        self.typed = self.process.stdin

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def type(self, line: str) -> None:
        self.typed.write(line.encode() + b"\n")
        self.typed.flush()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.01)

    def until_shown(self, text: str) -> None:
        self.until(lambda: text in self.output.read_text())

    def until_told(self, text: str) -> None:
        self.until(lambda: text in self.errors.read_text())

    def ended(self) -> int:
        return self.process.wait(10)


StartChat = Callable[..., Chat]


@pytest.fixture
def chat(url: str, tmp_path: Path) -> Generator[StartChat]:
    started: list[Chat] = []

    def start(*text: str) -> Chat:
        output, errors = tmp_path / "stdout", tmp_path / "stderr"
        command = (sys.executable, "-m", "cli.main", "chat", *text, "--url", url)
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                (*command, "--token", "token"),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                preexec_fn=hear_interrupts,  # noqa: PLW1509 - one call before the other program
            )
        started.append(Chat(process, output, errors))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.typed.close()


def hear_interrupts() -> None:
    """Where the tests run in the background they may have been told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_asks_to_cancel_and_shows_that_it_was(
    chat: StartChat, handler: type[Streaming]
) -> None:
    talk = chat("Hello")
    talk.until_shown(SAID)
    talk.press_ctrl_c()
    assert talk.ended() == 1
    assert talk.output.read_text() == f"{SAID}\n"
    told = talk.errors.read_text()
    assert "The answer was cancelled" in told
    assert f"--conversation {CONVERSATION.id}" in told
    assert handler.posted.count(CANCEL) == 1


def test_a_second_ctrl_c_leaves(chat: StartChat, handler: type[Streaming]) -> None:
    handler.deaf = True
    talk = chat("Hello")
    talk.until_shown(SAID)
    talk.press_ctrl_c()
    talk.until(lambda: CANCEL in handler.posted)
    assert talk.process.poll() is None
    talk.press_ctrl_c()
    assert talk.ended() == 1
    told = talk.errors.read_text()
    assert "Left" in told
    assert f"--conversation {CONVERSATION.id}" in told
    assert "Traceback" not in told


def test_after_a_cancelled_answer_the_prompt_is_as_before(
    chat: StartChat, handler: type[Streaming]
) -> None:
    talk = chat()
    talk.type("Hello")
    talk.until_shown(SAID)
    talk.press_ctrl_c()
    talk.until_told("The answer was cancelled")
    talk.type("Hello again")
    said = f"{CONVERSATIONS}/{CONVERSATION.id}/messages"
    talk.until(lambda: handler.posted.count(said) == 2)
    talk.until(lambda: talk.errors.read_text().count("The answer was cancelled") == 2)
    talk.press_ctrl_c()
    assert talk.ended() == 1


@pytest.mark.parametrize("key", ["Ctrl-C", "Ctrl-D"])
def test_at_the_prompt_ctrl_c_and_ctrl_d_leave(chat: StartChat, key: str) -> None:
    talk = chat()
    talk.until_told("Ctrl-D ends")
    if key == "Ctrl-C":
        talk.press_ctrl_c()
    else:
        talk.typed.close()
    talk.ended()
    told = talk.errors.read_text()
    assert "Traceback" not in told
    assert "Aborted" not in told
