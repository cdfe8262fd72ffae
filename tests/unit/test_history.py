"""The history as a model reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from shared.events import Message, ToolCall
from shared.ids import new_id
from worker.history import input_items, open_calls

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
        input_items([message("assistant", "Let me see.", [call(1, result=1), call(2, result=2)])])
    )
    assert [item.get("type", item.get("role")) for item in items] == [
        *("assistant", "function_call", "function_call"),
        *("function_call_output", "function_call_output"),
    ]
    assert [item["call_id"] for item in items[1:]] == ["call_1", "call_2", "call_1", "call_2"]
    assert items[3]["output"] == "1"


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    items: list[Any] = list(input_items([message("assistant", "", [call(1, "running")])]))
    assert "outcome_unknown" in items[1]["output"]


def test_a_result_whose_call_is_out_of_the_window_is_left_out() -> None:
    assert input_items([message("tool", "1")]) == []


def test_an_empty_answer_is_left_out() -> None:
    assert input_items([message("assistant", " \n")]) == []


def test_open_calls_are_those_of_this_turn_without_a_result() -> None:
    history = [message("assistant", "", [call(1), call(2, "running"), call(3, "failed")])]
    assert [found.id for found in open_calls(history, TURN)] == ["call_2"]
    assert open_calls(history, new_id()) == []
