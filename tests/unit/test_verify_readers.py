"""A reader of a proof: what a conversation may be told as, and what it must not be told as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cli.verify.invariants import Invariant
from cli.verify.sse import Event
from cli.verify.view import History, Row, View

TURN, ASKED, ANSWER, TOOL = "turn-1", "message-1", "message-2", "message-3"
TEXT = "One \U0001f600 two three"


def row(key: str, seq: int, role: str, content: str, **others: Any) -> Row:
    message: Row = {"id": key, "seq": seq, "role": role, "content": content, "turn_id": TURN}
    message |= {"status": "completed", "tool_calls": None, "tool_call_id": None, "metadata": {}}
    return message | {"created_at": "2025-01-01T00:00:00Z"} | others


def created(seq: int, key: str, role: str, content: str, **others: Any) -> Event:
    message = row(key, others.pop("made", seq), role, content, **others)
    return Event("message.created", {"seq": seq, "message": message}, str(seq))


def updated(event: Event) -> Event:
    return Event("message.updated", event.data, event.id)


def turn(seq: int, status: str, attempt: int = 1, offset: int = 0) -> Event:
    state = {"id": TURN, "seq": seq, "status": status, "attempt": attempt}
    number = f"{seq}:{offset}" if offset else str(seq)
    return Event("turn.updated", {"seq": seq, "turn": state}, number)


def text(seq: int, offset: int, piece: str, attempt: int = 1, key: str = ANSWER) -> Event:
    data = {"turn_id": TURN, "message_id": key, "attempt": attempt, "offset": offset, "text": piece}
    return Event("message.delta", data, f"{seq}:{offset + len(piece)}")


BEGINNING = [
    created(1, ASKED, "user", "slow 5 text"),
    turn(2, "queued", attempt=0),
    turn(3, "running"),
]
ENDING = [created(4, ANSWER, "assistant", TEXT), turn(5, "completed")]
WHOLE = [*BEGINNING, text(3, 0, TEXT[:5]), text(3, 5, TEXT[5:]), *ENDING]


def noted(events: list[Event], retried: tuple[str, ...] = ()) -> list[Invariant]:
    found: list[Invariant] = []
    view = View(lambda invariant, _: found.append(invariant), retried)
    for event in events:
        view.hear(event)
    view.close()
    return found


def seen(events: list[Event]) -> View:
    def fail(invariant: Invariant, detail: str) -> None:
        raise AssertionError(f"{invariant}: {detail}")

    view = View(fail)
    for event in events:
        view.hear(event)
    return view


GOOD: dict[str, list[Event]] = {
    "a turn": WHOLE,
    "a replay that knows only the end": [
        created(1, ASKED, "user", "slow 5 text"),
        *ENDING,
    ],
    "a new attempt begins its text again": [
        *BEGINNING,
        text(3, 0, "One"),
        turn(4, "running", attempt=2),
        text(4, 0, "On", attempt=2, key="message-9"),
        created(5, "message-9", "assistant", "On it", made=5),
        turn(6, "completed", attempt=2),
    ],
    "an answer of an attempt that a replay tells of only with its end": [
        *BEGINNING,
        text(3, 0, "One"),
        created(6, "message-9", "assistant", "Two"),
        turn(7, "completed", attempt=2),
    ],
    "another message is queued while text streams": [
        *BEGINNING,
        text(3, 0, TEXT[:5]),
        Event(
            "message.created",
            {"seq": 4, "message": row("message-8", 4, "user", "say x", turn_id="turn-2")},
            "4:5",
        ),
        text(4, 5, TEXT[5:]),
        created(5, ANSWER, "assistant", TEXT),
        turn(6, "completed"),
    ],
    "messages are withdrawn after their turn's end": [
        *BEGINNING,
        turn(4, "cancelled"),
        updated(created(5, ASKED, "user", "slow 5 text", made=1, status="withdrawn")),
    ],
    "a stream closes and another goes on": [
        *BEGINNING,
        Event("stream.closing", {"reason": "shutdown"}),
        *ENDING,
    ],
}

BAD: dict[str, tuple[list[Event], Invariant]] = {
    "a piece of text is lost": (
        [*BEGINNING, text(3, 0, TEXT[:5]), text(3, 6, TEXT[6:]), *ENDING],
        Invariant.text_offset,
    ),
    "a piece of text comes twice": (
        [*BEGINNING, text(3, 0, "One"), text(3, 0, "One")],
        Invariant.text_offset,
    ),
    "offsets count UTF-16 units": (
        [*BEGINNING, text(3, 0, TEXT[:5]), text(3, 6, TEXT[5:])],
        Invariant.text_offset,
    ),
    "text of a message that is committed": (
        [*BEGINNING, ENDING[0], text(4, 0, "One")],
        Invariant.text_offset,
    ),
    "an event comes twice": ([*BEGINNING, BEGINNING[-1]], Invariant.event_order),
    "an event comes late": ([*BEGINNING, ENDING[1], ENDING[0]], Invariant.event_order),
    "a message is created twice": (
        [*BEGINNING, created(4, ASKED, "user", "slow 5 text", made=1)],
        Invariant.event_order,
    ),
    "the id and the data disagree": (
        [*BEGINNING, Event("turn.updated", turn(5, "completed").data, "4")],
        Invariant.event_number,
    ),
    "the id counts other characters": (
        [*BEGINNING, Event("message.delta", text(3, 0, "One").data, "3:4")],
        Invariant.event_number,
    ),
    "an older attempt after a newer": (
        [*BEGINNING, turn(4, "running", attempt=2), turn(5, "running", attempt=1)],
        Invariant.text_attempt,
    ),
    "text of an older attempt after a newer": (
        [*BEGINNING, text(3, 0, "One"), turn(4, "running", attempt=2), text(4, 0, "On")],
        Invariant.text_attempt,
    ),
    "text of an attempt that was not told": (
        [*BEGINNING, text(3, 0, "One", attempt=2)],
        Invariant.text_attempt,
    ),
    "text of a turn that still waits": (
        [*BEGINNING[:2], text(2, 0, "One")],
        Invariant.text_attempt,
    ),
    "text that is not in what was committed": (
        [*BEGINNING, text(3, 0, "Once"), *ENDING],
        Invariant.text_prefix,
    ),
    "text that was longer than what was kept": (
        [*BEGINNING, text(3, 0, TEXT), created(4, ANSWER, "assistant", TEXT[:5])],
        Invariant.text_prefix,
    ),
    "a message after the end": (
        [*WHOLE, created(6, "message-9", "assistant", "and")],
        Invariant.over_is_over,
    ),
    "text after the end": ([*WHOLE, text(5, 0, "and", key="message-9")], Invariant.over_is_over),
    "a turn that completed runs again": ([*WHOLE, turn(6, "running", 2)], Invariant.over_is_over),
    "a turn that failed runs again": (
        [*BEGINNING, turn(4, "failed"), turn(5, "running", 2)],
        Invariant.over_is_over,
    ),
    "a reason that is not on the list": (
        [*WHOLE, Event("stream.closing", {"reason": "tired"})],
        Invariant.closing_reason,
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_said_of_a_good_stream(name: str) -> None:
    assert noted(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_stream_is_called_what_it_is(name: str) -> None:
    events, invariant = BAD[name]
    assert noted(events) == [invariant]


def test_a_turn_that_is_retried_may_go_on() -> None:
    events = [*BEGINNING, turn(4, "failed"), turn(5, "queued"), turn(6, "running", 2)]
    assert noted(events, retried=(TURN,)) == []
    assert Invariant.over_is_over in noted(events)


def test_a_replay_may_tell_of_a_retried_turn_after_its_answer() -> None:
    answer = created(7, "message-9", "assistant", "On it")
    events = [*BEGINNING, turn(4, "cancelled"), answer, turn(8, "completed", 2)]
    assert noted(events, retried=(TURN,)) == []
    assert noted(events[:-1], retried=(TURN,)) == [Invariant.over_is_over]


def test_a_view_is_compared_with_what_get_shows() -> None:
    view = seen(WHOLE)
    history = History(dict(view.messages), dict(view.turns))
    assert view.differences(history) == []
    history.messages[ANSWER] = row(ANSWER, 4, "assistant", "Something else")
    assert len(view.differences(history)) == 1
    history.messages[ANSWER] = view.messages[ANSWER]
    history.turns[TURN] = {**view.turns[TURN], "attempt": 2}
    assert len(view.differences(history)) == 1


def test_text_that_never_became_a_message_is_a_difference() -> None:
    view = seen([*BEGINNING, text(3, 0, "One")])
    assert view.differences(History(dict(view.messages), dict(view.turns)))


def test_what_was_withdrawn_is_not_expected() -> None:
    view = seen(GOOD["messages are withdrawn after their turn's end"])
    assert view.differences(History()) == []


def test_a_result_is_shown_where_the_call_is() -> None:
    call: Row = {"id": "call-1", "tool_name": "f", "arguments": {}}
    waiting = {"status": "running", "result": None, "started_at": None, "duration_ms": None}
    asked = created(4, ANSWER, "assistant", "", tool_calls=[call | waiting])
    result: Row = {"tool_call_id": "call-1", "metadata": {"duration_ms": 3}}
    at_work = created(5, TOOL, "tool", "", status="running", **result)
    done = updated(created(6, TOOL, "tool", '{"id": "x"}', made=5, **result))
    shown = seen([*BEGINNING, asked, at_work, done]).visible[ANSWER]["tool_calls"][0]
    assert shown == call | {
        "status": "completed",
        "result": {"id": "x"},
        "started_at": "2025-01-01T00:00:00Z",
        "duration_ms": 3,
    }


Page = Callable[..., list[Invariant]]


@pytest.fixture
def page() -> Page:
    """What is noted of one page after `since=3`, of at most 2 rows."""

    def read(*seqs: int, cursor: int, more: bool = False) -> list[Invariant]:
        found: list[Invariant] = []
        view = View(lambda invariant, _: found.append(invariant))
        turns = [
            {"id": f"turn-{seq}", "seq": seq, "status": "queued", "attempt": 0} for seq in seqs
        ]
        told = {"messages": [], "turns": turns, "next_since": cursor, "has_more": more}
        view.read(told, since=3, limit=2)
        return found

    return read


def test_a_page_goes_forward_in_order(page: Page) -> None:
    assert page(4, 6, cursor=6) == []
    assert page(cursor=3) == []
    assert page(6, 4, cursor=6) == [Invariant.event_order]
    assert page(3, cursor=4) == [Invariant.event_order]
    assert page(4, 7, cursor=6) == [Invariant.event_order]
    assert page(4, 5, 6, cursor=6) == [Invariant.event_order]
    assert page(cursor=2) == [Invariant.event_order]
    assert page(cursor=3, more=True) == [Invariant.event_order]
