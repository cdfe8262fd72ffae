"""The shortest client there can be: a state and its events make the next state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
OPEN = ("running", "awaiting_approval")


def fold(before: Json, events: Iterable[Json]) -> Json:
    """Asserts that text in flight fits, and that what is committed begins with it."""
    messages: dict[str, Json] = {message["id"]: message for message in before["messages"]}
    turns: dict[str, Json] = {turn["id"]: turn for turn in before["turns"]}
    live: dict[tuple[str, int], str] = {}
    for event in events:
        data = event["data"]
        match event["event"]:
            case "message.delta":
                assert turns[data["turn_id"]]["attempt"] == data["attempt"]
                key = data["message_id"], data["attempt"]
                assert data["offset"] == len(live.setdefault(key, ""))
                live[key] += data["text"]
                assert event["id"].endswith(f":{len(live[key])}")
            case "message.created" | "message.updated":
                message = data["message"]
                messages[message["id"]] = message
                begun = [text for (of, _), text in live.items() if of == message["id"]]
                assert all(message["content"].startswith(text) for text in begun)
            case "turn.updated":
                turns[data["turn"]["id"]] = data["turn"]
            case _:
                pass
    shown = [message for message in messages.values() if message["status"] != "withdrawn"]
    return {
        "messages": sorted((joined(m, shown) for m in shown), key=lambda m: m["seq"]),
        "turns": sorted(turns.values(), key=lambda turn: turn["id"]),
    }


def joined(message: Json, messages: list[Json]) -> Json:
    """The calls of an answer, with their results; those stand in the tools' messages."""
    if message["tool_calls"] is None:
        return message
    tools = {tool["tool_call_id"]: tool for tool in messages if tool["role"] == "tool"}
    return message | {"tool_calls": [call | result(tools[call["id"]]) for call in _calls(message)]}


def result(tool: Json) -> Json:
    status, facts = tool["status"], tool["metadata"]
    begun = facts.get("started_at") if "approval" in facts else tool["created_at"]
    if begun is not None:
        # In the metadata as Postgres writes it: the same time, spelled another way.
        begun = begun.replace("+00:00", "Z")
    return {
        "status": status,
        "result": None if status in OPEN else json.loads(tool["content"]),
        "started_at": begun,
        "duration_ms": facts.get("duration_ms"),
    }


def _calls(message: Json) -> list[Json]:
    return message["tool_calls"]
