"""The history as a model reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from msgspec.structs import replace

from shared.events import Message, ToolCall
from shared.ids import new_id
from worker.history import calls_of, in_reading_order, input_items

TURN = new_id()
Status = Literal["completed", "running", "failed"]


def message(role: Any, content: str, calls: list[ToolCall] | None = None) -> Message:
    return Message(
        id=new_id(),
        conversation_id=new_id(),
        turn_id=TURN,
        seq=1,
        role=role,
        content=content,
        status="completed",
        tool_calls=calls,
        tool_call_id="call_1" if role == "tool" else None,
        metadata={},
        created_at=datetime.now(UTC),
    )


def call(number: int, status: Status = "completed", result: Any = None) -> ToolCall:
    return ToolCall(f"call_{number}", "tool", {"n": number}, status, result, None, None)


def test_results_stand_behind_the_calls_that_asked_for_them() -> None:
    items: list[Any] = list(
        input_items(
            [message("assistant", "Let me see.", [call(1, result=1), call(2, result=2)])], TURN
        )
    )
    assert [item.get("type", item.get("role")) for item in items] == [
        *("assistant", "function_call", "function_call"),
        *("function_call_output", "function_call_output"),
    ]
    assert [item["call_id"] for item in items[1:]] == ["call_1", "call_2", "call_1", "call_2"]
    assert items[3]["output"] == "1"


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    items: list[Any] = list(input_items([message("assistant", "", [call(1, "running")])], TURN))
    assert "outcome_unknown" in items[1]["output"]


def test_a_result_whose_call_is_out_of_the_window_is_left_out() -> None:
    assert input_items([message("tool", "1")], TURN) == []


def test_an_empty_answer_is_left_out() -> None:
    assert input_items([message("assistant", " \n")], TURN) == []


def test_the_calls_of_a_turn_are_those_it_committed() -> None:
    history = [message("assistant", "", [call(1), call(2, "running"), call(3, "failed")])]
    assert [found.id for found in calls_of(history, TURN)] == ["call_1", "call_2", "call_3"]
    assert calls_of(history, new_id()) == []


def test_what_an_earlier_try_at_this_turn_began_to_say_is_left_out() -> None:
    begun = [replace(message("assistant", "Once upon"), status="failed")]
    assert input_items(begun, TURN) == []
    assert len(input_items(begun, new_id())) == 1


def test_what_was_said_while_the_model_wrote_stands_behind_what_it_wrote() -> None:
    history = [
        replace(message("user", "first"), seq=1),
        replace(message("user", "late"), seq=3),
        replace(message("assistant", "answer to first"), seq=4, metadata={"read_to": 1}),
        replace(message("assistant", "answer to late"), seq=5),
    ]
    assert [message.content for message in in_reading_order(history)] == [
        *("first", "answer to first", "late", "answer to late"),
    ]
    assert in_reading_order(history[:1] + history[3:]) == history[:1] + history[3:]
