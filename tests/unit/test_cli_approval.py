"""`parley chat` asks whether a tool call may run, and shows what it asks about as it is."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from api.samples import ASKING_MESSAGE, ASSISTANT_MESSAGE, AWAITING_TURN, CONVERSATION, TURN
from cli.approval import shown
from cli.server import CONVERSATIONS, TURNS
from cli.transcript import ToolEnded, Transcript
from shared.events import Message, MessageCreated, MessageUpdated, ToolCall, TurnUpdated
from shared.ids import new_id
from tests.fixtures.terminal import CANCEL, StartChat, Streaming

CALLS = ASKING_MESSAGE.tool_calls or []
APPROVALS = f"{TURNS}/{TURN.id}/approvals"
SAY = f"{CONVERSATIONS}/{CONVERSATION.id}/messages"
END_OF_INPUT = b"\x04"


def tool_message(call: ToolCall, seq: int, **changed: Any) -> Message:
    return msgspec.structs.replace(
        ASKING_MESSAGE,
        **{
            "id": new_id(),
            "seq": seq,
            "role": "tool",
            "tool_calls": None,
            "tool_call_id": call.id,
            "status": "awaiting_approval",
            "metadata": {"tool_name": call.tool_name, "approval": "awaited"},
        }
        | changed,
    )


class Asking(Streaming):
    """Streams a turn that awaits approval, and its end once that was given."""

    bodies: list[Any]
    decided: threading.Event

    @override
    def do_GET(self) -> None:
        if not self.path.endswith("/events"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.tell("5", MessageCreated(5, ASKING_MESSAGE))
        self.tell("6", MessageCreated(6, tool_message(CALLS[0], 6)))
        self.tell("7", TurnUpdated(7, AWAITING_TURN))
        self.decided.wait()
        with suppress(ConnectionError):  # who presses Ctrl-C twice doesn't stay to the end
            self.tell("8", MessageCreated(8, ASSISTANT_MESSAGE))
            self.tell("9", TurnUpdated(9, TURN))

    @override
    def do_POST(self) -> None:
        if self.path != APPROVALS:
            super().do_POST()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(msgspec.json.decode(body))
        self.decided.set()
        self.answer(AWAITING_TURN)


@pytest.fixture
def handler() -> type[Asking]:
    decided = threading.Event()
    own: dict[str, Any] = {"bodies": [], "posted": [], "decided": decided, "cancelled": decided}
    return type("Handler", (Asking,), own)


def test_a_call_is_approved_at_the_prompt(chat: StartChat, handler: type[Asking]) -> None:
    talk = chat("What is on my list today?", terminal=True)
    talk.until_told('wants to use list_tasks {"status":"open"}')
    talk.type("perhaps")
    talk.type("y")
    assert talk.ended() == 0
    assert handler.bodies == [{"tool_call_id": CALLS[0].id, "decision": "approve"}]
    assert talk.output.read_text() == f"{ASSISTANT_MESSAGE.content}\n"


def test_where_lines_are_piped_none_is_taken_for_a_decision(
    chat: StartChat, handler: type[Asking]
) -> None:
    talk = chat()
    talk.type("What is on my list today?")
    talk.type("And what tomorrow?")
    talk.until_told("once somebody approves or denies it")
    handler.decided.set()
    talk.until(lambda: handler.posted.count(SAY) == 2)
    talk.typed.close()
    assert talk.ended() == 0
    assert handler.bodies == []


def test_a_second_ctrl_c_at_the_question_leaves(chat: StartChat, handler: type[Asking]) -> None:
    handler.deaf = True
    talk = chat("What is on my list today?", terminal=True)
    talk.until_told("approve?")
    talk.until_it_reads()
    talk.press_ctrl_c()
    talk.until(lambda: CANCEL in handler.posted)
    assert talk.process.poll() is None
    talk.press_ctrl_c()
    assert talk.ended() == 1
    told = talk.errors.read_text()
    assert "Left" in told
    assert "Traceback" not in told
    assert handler.bodies == []


def test_at_the_end_of_the_input_it_waits_for_another_viewer(
    chat: StartChat, handler: type[Asking]
) -> None:
    talk = chat("What is on my list today?", terminal=True)
    talk.until_told("approve?")
    talk.typed.write(END_OF_INPUT)
    talk.until_told("Not decided")
    assert talk.process.poll() is None
    handler.decided.set()
    assert talk.ended() == 0
    assert handler.bodies == []


def test_what_is_shown_cannot_deceive() -> None:
    text = "a\x1b[2Kb\u202ec\x9bd"
    found = shown(msgspec.structs.replace(CALLS[0], arguments={"to": text}))
    assert found == '{"to":"a\\u001b[2Kb\\u202ec\\u009bd"}'


def test_only_calls_that_nobody_decided_are_asked_about() -> None:
    transcript = Transcript()
    message = tool_message(CALLS[0], 6)
    transcript.apply(MessageCreated(5, ASKING_MESSAGE))
    assert transcript.apply(MessageCreated(6, message)) == []
    assert transcript.awaited(TURN.id) == CALLS
    approved = msgspec.structs.replace(message, metadata={"approval": "approve"})
    assert transcript.apply(MessageUpdated(7, approved)) == []
    assert transcript.awaited(TURN.id) == []
    done = msgspec.structs.replace(approved, status="completed", content="1")
    assert [type(h) for h in transcript.apply(MessageUpdated(8, done))] == [ToolEnded]
