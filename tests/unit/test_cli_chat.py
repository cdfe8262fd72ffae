"""Ctrl-C in `parley chat`."""

from __future__ import annotations

import threading

import pytest

from api.samples import CONVERSATION
from cli.server import CONVERSATIONS
from tests.fixtures.terminal import CANCEL, SAID, StartChat, Streaming


@pytest.fixture
def handler() -> type[Streaming]:
    return type("Handler", (Streaming,), {"posted": [], "cancelled": threading.Event()})


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
