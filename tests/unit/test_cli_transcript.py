"""Streamed text may be cut, doubled, late or void; what is shown ends up as what was committed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from cli.transcript import (
    Gap,
    Happening,
    MessageEnded,
    TextGrew,
    TextVoided,
    ToolEnded,
    ToolStarted,
    Transcript,
    TurnChanged,
)
from shared.events import (
    Event,
    Message,
    MessageCreated,
    MessageDelta,
    MessageUpdated,
    ToolCall,
    Turn,
    TurnUpdated,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONVERSATION, TURN, ANSWER = uuid4(), uuid4(), uuid4()


def delta(offset: int, text: str, attempt: int = 1, message_id: UUID = ANSWER) -> MessageDelta:
    return MessageDelta(TURN, message_id, attempt, offset, text)


def message(content: str, **changes: Any) -> Message:
    made = Message(
        id=ANSWER,
        conversation_id=CONVERSATION,
        turn_id=TURN,
        seq=4,
        role="assistant",
        content=content,
        status="completed",
        tool_calls=None,
        tool_call_id=None,
        metadata={},
        created_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def committed(content: str, **changes: Any) -> MessageCreated:
    return MessageCreated(4, message(content, **changes))


def turn(seq: int, attempt: int = 1, status: Any = "running") -> TurnUpdated:
    made = Turn(
        id=TURN,
        conversation_id=CONVERSATION,
        user_message_id=uuid4(),
        status=status,
        attempt=attempt,
        position=None,
        error=None,
        model=None,
        usage=None,
        seq=seq,
        created_at=NOW,
        started_at=NOW,
        first_token_at=None,
        finished_at=None,
    )
    return TurnUpdated(seq, made)


def play(*events: Event) -> list[Happening]:
    transcript = Transcript()
    return [happening for event in events for happening in transcript.apply(event)]


def shown(happenings: list[Happening]) -> str:
    """What a reader has on the screen in the end."""
    text = ""
    for happening in happenings:
        match happening:
            case TextGrew(text=piece):
                text += piece
            case TextVoided():
                text = ""
            case _:
                pass
    return text


def test_pieces_in_order_are_the_text() -> None:
    assert shown(play(delta(0, "Hel"), delta(3, "lo"), committed("Hello"))) == "Hello"


def test_a_repeated_piece_is_told_once() -> None:
    assert shown(play(delta(0, "Hello"), delta(0, "Hello"), delta(2, "ll"))) == "Hello"


def test_of_an_overlapping_piece_only_the_new_end_is_told() -> None:
    happened = play(delta(0, "Hello"), delta(3, "lo you"))
    assert happened[-1] == TextGrew(TURN, ANSWER, " you")


def test_offsets_count_code_points() -> None:
    assert shown(play(delta(0, "✨👍"), delta(2, "é"), delta(3, "!"))) == "✨👍é!"


def test_a_missing_piece_is_a_gap_and_changes_nothing() -> None:
    happened = play(delta(0, "Hel"), delta(5, " you"), delta(3, "lo"), delta(5, " you"))
    assert happened.count(Gap()) == 1
    assert shown(happened) == "Hello you"


def test_a_first_piece_from_the_middle_is_a_gap() -> None:
    assert play(delta(7, "rest")) == [Gap()]


def test_all_of_the_text_sent_anew_after_a_gap_closes_it() -> None:
    assert shown(play(delta(0, "Hel"), delta(6, "x"), delta(0, "Hello x"))) == "Hello x"


def test_the_commit_brings_what_the_stream_did_not() -> None:
    assert shown(play(delta(0, "Hel"), committed("Hello"))) == "Hello"


def test_a_message_that_was_never_streamed_is_told_whole() -> None:
    assert shown(play(committed("Hello"))) == "Hello"


def test_where_they_differ_the_commit_wins() -> None:
    assert shown(play(delta(0, "Helo"), committed("Hello"))) == "Hello"


def test_pieces_after_the_commit_are_ignored() -> None:
    assert (
        shown(play(delta(0, "Hel"), committed("Hello"), delta(3, "lo"), delta(0, "H"))) == "Hello"
    )


def test_a_commit_told_again_says_nothing() -> None:
    assert shown(play(committed("Hello"), committed("Hello"))) == "Hello"


def test_another_attempt_voids_the_text_of_the_one_before() -> None:
    happened = play(turn(3), delta(0, "Hel"), turn(5, attempt=2), delta(0, "Good", attempt=2))
    assert TextVoided(TURN, ANSWER) in happened
    assert shown(happened) == "Good"


def test_another_attempt_is_known_from_its_text_alone() -> None:
    assert shown(play(delta(0, "Hel"), delta(0, "Good", attempt=2, message_id=uuid4()))) == "Good"


@pytest.mark.parametrize("late", [delta(3, "lo"), delta(0, "Hello", message_id=uuid4())])
def test_text_of_an_older_attempt_is_never_shown_after_it(late: MessageDelta) -> None:
    assert shown(play(turn(5, attempt=2), delta(0, "Good", 2), late)) == "Good"


def test_an_older_state_of_a_turn_changes_nothing() -> None:
    happened = play(turn(6, status="completed"), turn(3))
    assert [item for item in happened if isinstance(item, TurnChanged)] == happened[:1]


def test_streamed_text_that_no_commit_confirmed_is_void_at_the_end() -> None:
    assert shown(play(turn(3), delta(0, "Hel"), turn(6, status="failed"))) == ""


def tool_message(status: Any) -> Message:
    return message("{}", id=UUID(int=7), role="tool", status=status, tool_call_id="call", seq=5)


def test_a_tool_is_told_when_it_starts_and_once_when_it_is_done() -> None:
    call = ToolCall("call", "create_task", {}, "running", None, None, None)
    happened = play(
        committed("", tool_calls=[call]),
        MessageCreated(5, tool_message("running")),
        MessageUpdated(6, tool_message("completed")),
        MessageUpdated(6, tool_message("completed")),
    )
    assert happened == [
        MessageEnded(TURN, message("", tool_calls=[call])),
        ToolStarted(TURN, call),
        ToolEnded(TURN, tool_message("completed")),
    ]


def test_a_replay_tells_a_finished_tool_by_its_last_state_only() -> None:
    assert play(MessageUpdated(6, tool_message("failed"))) == [
        ToolEnded(TURN, tool_message("failed"))
    ]


def test_a_withdrawn_message_is_not_shown() -> None:
    assert play(MessageUpdated(9, message("Hello", status="withdrawn"))) == []
