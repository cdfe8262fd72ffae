"""The recorded event logs are what the service says today, and each leads to what it showed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from shared.events import Event, Message, MessageStatus, Turn, TurnStatus
from tests.golden.fold import fold
from tests.golden.scenarios import SCENARIOS, name_of

FOLDER = Path(__file__).parent.parent / "golden"
Json = dict[str, Any]


def read(path: Path) -> Json:
    return json.loads(path.read_text())


LOGS = [read(path) for path in sorted(FOLDER.glob("*.json"))]
each_log = pytest.mark.parametrize("log", LOGS, ids=[log["name"] for log in LOGS])


def same_again(value: Json, kind: Any) -> Json:
    """As our structs understand it: what they don't know is lost, what is missing is an error."""
    return json.loads(msgspec.json.encode(msgspec.json.decode(json.dumps(value), type=kind)))


def found_in(value: Any, key: str) -> Iterator[Any]:
    """Whatever stands under this key, however deep."""
    if isinstance(value, dict):
        for name, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            if name == key:
                yield item
            yield from found_in(item, key)
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from found_in(item, key)


def test_there_is_a_log_of_every_scenario_and_no_other() -> None:
    scenarios = {name_of(scenario) for scenario in SCENARIOS}
    assert {log["name"] for log in LOGS} == scenarios
    assert {path.stem for path in FOLDER.glob("*.json")} == scenarios


@each_log
def test_every_event_is_one_of_ours_to_the_letter(log: Json) -> None:
    for event in log["events"]:
        told = {"event": event["event"], **event["data"]}
        assert same_again(told, Event) == told


@each_log
def test_so_are_the_states_before_and_after(log: Json) -> None:
    for state in (log["before"], log["after"]):
        assert same_again(state, dict[str, Any]).keys() == {"messages", "turns"}
        for message in state["messages"]:
            assert same_again(message, Message) == message
        for turn in state["turns"]:
            assert same_again(turn, Turn) == turn


@each_log
def test_the_events_lead_from_before_to_after(log: Json) -> None:
    assert log["before"] != log["after"]
    assert fold(log["before"], log["events"]) == log["after"]


@each_log
def test_changes_are_numbered_without_gaps(log: Json) -> None:
    seqs = [event["data"]["seq"] for event in log["events"] if "seq" in event["data"]]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_together_they_have_every_event_and_every_state() -> None:
    events = [event for log in LOGS for event in log["events"]]
    names = {kind.__struct_config__.tag for kind in get_args(Event)}
    assert {event["event"] for event in events} == names
    data = [event["data"] for event in events]
    turns = {turn["status"] for turn in found_in(data, "turn")}
    assert turns == set(get_args(TurnStatus))
    messages = {message["status"] for message in found_in(data, "message") if message_like(message)}
    assert messages == set(get_args(MessageStatus))


def message_like(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def test_positions_attempts_and_wide_characters_are_among_them() -> None:
    by_name = {log["name"]: log for log in LOGS}
    waited = {t["position"] for t in found_in(by_name["queued_turns"]["events"], "turn")}
    assert waited == {None, 1, 2}
    tried = {t["attempt"] for t in found_in(by_name["worker_killed_in_mid_answer"], "turn")}
    assert tried == {0, 1, 2}
    offsets = [
        event["data"]["offset"]
        for event in by_name["emoji"]["events"]
        if event["event"] == "message.delta"
    ]
    text = by_name["emoji"]["after"]["messages"][-1]["content"]
    assert offsets[-1] < len(text) < len(text.encode("utf-16-le")) // 2
