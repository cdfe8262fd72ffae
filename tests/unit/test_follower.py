"""What a viewer is told, decided by numbers alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.follower import BehindError, Cursor, Follower
from shared.events import (
    Change,
    Message,
    MessageCreated,
    MessageDelta,
    MessageRole,
    Turn,
    TurnStatus,
    TurnUpdated,
)
from shared.ids import new_id
from shared.publisher import Delta, LiveText
from shared.store.replay import Replay

NOW = datetime.now(UTC)
CONVERSATION, TURN, MESSAGE = new_id(), new_id(), new_id()


def message(seq: int, role: MessageRole = "assistant") -> MessageCreated:
    return MessageCreated(
        seq,
        Message(new_id(), CONVERSATION, TURN, seq, role, "x", "completed", None, None, {}, NOW),
    )


def turn(seq: int, status: TurnStatus = "running", attempt: int = 1) -> TurnUpdated:
    found = Turn(
        id=TURN,
        conversation_id=CONVERSATION,
        user_message_id=MESSAGE,
        status=status,
        attempt=attempt,
        position=None,
        error=None,
        model=None,
        usage=None,
        seq=seq,
        created_at=NOW,
        started_at=None,
        first_token_at=None,
        finished_at=None,
    )
    return TurnUpdated(seq, found)


def text(offset: int, piece: str, *, base: int) -> Delta:
    return Delta(base, MessageDelta(TURN, MESSAGE, 1, offset, piece))


def rows(*changes: Change, cursor: int, base: int) -> Replay:
    return Replay(list(changes), cursor, cursor, base, active=True)


def following(cursor: Cursor, *, base: int) -> Follower:
    follower = Follower(cursor)
    assert list(follower.on_replay(rows(cursor=cursor.seq, base=base))) == []
    return follower


def test_a_change_that_was_seen_is_not_told_again() -> None:
    follower = following(Cursor(5), base=3)
    assert list(follower.on_changes([turn(4), turn(5)])) == []


def test_a_missing_number_sends_to_the_rows_and_what_came_before_it_is_told() -> None:
    follower = following(Cursor(5), base=3)
    told = follower.on_changes([turn(6), turn(8)])
    assert str(next(told)[0]) == "6"
    with pytest.raises(BehindError):
        next(told)
    assert follower.cursor == Cursor(6)


def test_text_is_told_from_where_the_viewer_stands() -> None:
    follower = following(Cursor(5, 3), base=5)
    told = follower.on_delta(text(0, "abcdef", base=5))
    assert told is not None
    cursor, event = told
    assert isinstance(event, MessageDelta)
    assert (str(cursor), event.offset, event.text) == ("5:6", 3, "def")


def test_text_that_was_seen_is_not_told_again() -> None:
    follower = following(Cursor(5, 6), base=5)
    assert follower.on_delta(text(2, "cdef", base=5)) is None


def test_missing_text_is_not_jumped_over() -> None:
    follower = following(Cursor(5, 3), base=5)
    with pytest.raises(BehindError):
        follower.on_delta(text(4, "ef", base=5))


def test_text_on_an_older_base_is_void() -> None:
    follower = following(Cursor(5), base=5)
    assert follower.on_delta(text(0, "late", base=4)) is None


def test_text_on_a_newer_base_means_that_changes_were_missed() -> None:
    follower = following(Cursor(5), base=5)
    with pytest.raises(BehindError):
        follower.on_delta(text(0, "early", base=6))


def test_a_commit_puts_the_text_back_to_its_first_character() -> None:
    follower = following(Cursor(5, 4), base=5)
    assert [str(cursor) for cursor, _ in follower.on_changes([message(6)])] == ["6"]
    told = follower.on_delta(text(0, "next", base=6))
    assert told is not None
    assert str(told[0]) == "6:4"


def test_a_new_attempt_voids_the_text_of_the_old_one() -> None:
    follower = following(Cursor(5, 4), base=5)
    list(follower.on_changes([turn(6, attempt=2)]))
    assert follower.on_delta(text(4, "more", base=5)) is None


def test_a_turn_that_waits_once_more_has_no_text() -> None:
    follower = following(Cursor(5, 4), base=5)
    assert [str(cursor) for cursor, _ in follower.on_changes([turn(6, "queued")])] == ["6"]
    assert follower.on_delta(text(4, "more", base=5)) is None


@pytest.mark.parametrize("change", [message(6, "user"), turn(6, "queued", attempt=0)])
def test_what_others_say_meanwhile_leaves_the_text_standing(change: Change) -> None:
    follower = following(Cursor(5, 4), base=5)
    assert [str(cursor) for cursor, _ in follower.on_changes([change])] == ["6:4"]
    assert str(follower.cursor) == "6:4"


def test_a_resumed_offset_counts_only_while_its_text_still_stands() -> None:
    follower = Follower(Cursor(5, 4))
    list(follower.on_replay(rows(message(6), cursor=6, base=6)))
    assert follower.cursor == Cursor(6)


def test_the_live_text_as_a_whole_is_told_from_the_cursor_on() -> None:
    follower = following(Cursor(5, 2), base=5)
    told = follower.on_live_text(LiveText(TURN, MESSAGE, 1, 5, "abcd"))
    assert told is not None
    assert isinstance(told[1], MessageDelta)
    assert told[1].text == "cd"


def test_code_points_are_counted_and_not_bytes() -> None:
    follower = following(Cursor(5), base=5)
    told = follower.on_delta(text(0, "\U0001f600é", base=5))
    assert told is not None
    assert str(told[0]) == "5:2"
