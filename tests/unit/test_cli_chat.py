"""Ctrl-C in `parley chat`, and what it says while nothing comes."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from api.samples import AWAITING_TURN, CONVERSATION, TURN
from cli.server import CONVERSATIONS
from shared.events import Event, Turn, TurnUpdated
from shared.ids import new_id
from tests.fixtures.terminal import CANCEL, EVENTS, SAID, StartChat, Streaming

EARLIER = msgspec.structs.replace(AWAITING_TURN, id=new_id())


class Behind(Streaming):
    """The conversation, and what its stream says first, speak of a turn before ours."""

    active_turn: Turn | None = None
    first: Event | None = None

    @override
    def answer(self, made: Any) -> None:
        if made is CONVERSATION:
            made = msgspec.structs.replace(CONVERSATION, active_turn=self.active_turn)
        super().answer(made)

    @override
    def tell(self, cursor: str, event: Event) -> None:
        if self.path == EVENTS and self.first is not None:
            super().tell("2", self.first)
            self.first = None
        super().tell(cursor, event)


@pytest.fixture
def handler() -> type[Behind]:
    return type("Handler", (Behind,), {"posted": [], "cancelled": threading.Event()})


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
        talk.until_it_reads()
        talk.press_ctrl_c()
    else:
        talk.typed.close()
    talk.ended()
    told = talk.errors.read_text()
    assert "Traceback" not in told
    assert "Aborted" not in told


@pytest.mark.parametrize(
    ("active_turn", "first"),
    [(EARLIER, None), (TURN, TurnUpdated(2, EARLIER))],
    ids=["already", "meanwhile"],
)
def test_behind_a_turn_that_awaits_approval_it_says_so(
    chat: StartChat, handler: type[Behind], active_turn: Turn, first: Event | None
) -> None:
    handler.active_turn, handler.first = active_turn, first
    talk = chat("Hello", "--conversation", str(CONVERSATION.id))
    talk.until_told(f"somebody must approve or deny what turn {EARLIER.id} asks for")
    talk.until_shown(SAID)
    talk.press_ctrl_c()
    talk.ended()
    assert talk.errors.read_text().count("somebody must") == 1
