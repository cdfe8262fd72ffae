"""The stand-in model as the proof needs it: faults that pass, and histories it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cli.verify import directives
from cli.verify.stand_in_protocol import problems_of
from tests.fixtures.stand_in import StandIn

Message = dict[str, Any]


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def asks(*calls: str) -> Message:
    return {"role": "assistant", "content": None, "tool_calls": [{"id": call} for call in calls]}


def result(call: str) -> Message:
    return {"role": "tool", "tool_call_id": call, "content": "{}"}


ANSWER: Message = {"role": "assistant", "content": "Yes."}
SYSTEM: Message = {"role": "system", "content": "Be brief."}


def asked(stand_in: StandIn, *messages: Message) -> httpx.Response:
    body = {"model": "stand-in", "messages": [SYSTEM, *messages], "stream": True}
    return httpx.post(f"{stand_in.url}/v1/chat/completions", json=body, timeout=20)


def verdict(stand_in: StandIn) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{stand_in.url}/verdict").json()
    return found


@pytest.mark.parametrize(
    "history",
    [
        [user("a")],
        [user("a"), user("b")],
        [user("a"), ANSWER, user("b")],
        [user("a"), asks("1", "2"), result("2"), result("1")],
        [user("a"), asks("1"), result("1"), ANSWER, user("b"), asks("1"), result("1")],
        [user("a"), asks("1"), result("1"), user("b")],
    ],
)
def test_a_valid_history_has_no_problem(history: list[Message]) -> None:
    assert problems_of([SYSTEM, *history]) == []


@pytest.mark.parametrize(
    "history",
    [
        [],
        [user("")],
        [user("a"), ANSWER],
        [user("a"), asks("1")],
        [user("a"), asks("1"), user("b")],
        [user("a"), asks("1", "2"), result("1"), user("b")],
        [user("a"), asks("1"), result("1"), result("1")],
        [user("a"), asks("1", "1"), result("1"), result("1")],
        [user("a"), result("1")],
        [user("a"), {"role": "assistant", "content": ""}, user("b")],
        [{"role": "owner", "content": "a"}],
    ],
)
def test_a_history_that_a_provider_would_refuse_has_one(history: list[Message]) -> None:
    assert problems_of([SYSTEM, *history])


def test_an_invalid_history_is_refused_and_remembered(stand_in: StandIn) -> None:
    assert asked(stand_in, user("say a"), asks("1"), user("say b")).status_code == 400
    assert asked(stand_in, user("say a")).status_code == 200
    found = verdict(stand_in)
    assert len(found["invalid"]) == 1
    assert found["requests"] == 2
    assert found["heard"] == {"say a": 2, "say b": 1}


@pytest.mark.parametrize("kind", sorted(set(directives.FAULTS) - {"hang", "stall"}))
def test_a_fault_passes_after_so_many_requests(stand_in: StandIn, kind: str) -> None:
    """`hang` and `stall` are no different, and take their time."""
    message = user(f"flaky {kind} 2 say All is well again.")
    for _ in range(2):
        assert not finished(stand_in, message)
    assert finished(stand_in, message)
    assert verdict(stand_in)["faults"] == {kind: 2}


def finished(stand_in: StandIn, message: Message) -> bool:
    try:
        answer = asked(stand_in, message)
    except httpx.RemoteProtocolError:
        return False
    return answer.status_code == 200 and '"finish_reason": "stop"' in answer.text


def test_a_busy_model_says_when_to_come_again(stand_in: StandIn) -> None:
    answer = asked(stand_in, user("flaky 429 1 say a"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_each_message_has_faults_of_its_own(stand_in: StandIn) -> None:
    assert not finished(stand_in, user("flaky 500 1 say a"))
    assert not finished(stand_in, user("flaky 500 1 say b"))
    assert finished(stand_in, user("flaky 500 1 say a"))


def test_a_fault_may_come_after_the_tools(stand_in: StandIn) -> None:
    message = user('call f {"a": 1}\nthen flaky 503 1 say done')
    assert "tool_calls" in asked(stand_in, message).text
    assert asked(stand_in, message, asks("1"), result("1")).status_code == 503
    assert "done" in asked(stand_in, message, asks("1"), result("1")).text
