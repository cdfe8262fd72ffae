"""The Chat Completions protocol as a stand-in speaks it: chunks to send, histories to judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cli.verify.directives import Asked

ROLES = ("system", "developer", "user", "assistant", "tool")


def text(piece: str) -> str:
    return delta({"content": piece})


def calls(asked: Sequence[Asked]) -> str:
    """All calls carry the ids that lazy providers give: the same in every answer."""
    return delta(
        {
            "tool_calls": [
                {
                    "index": index,
                    "id": f"call_{index}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
                for index, (name, arguments) in enumerate(asked)
            ]
        }
    )


def delta(change: dict[str, Any]) -> str:
    return line(chunk([{"index": 0, "delta": change, "finish_reason": None}]))


def end(reason: str) -> str:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    last = chunk([{"index": 0, "delta": {}, "finish_reason": reason}])
    return line(last) + line(chunk([]) | {"usage": usage}) + "data: [DONE]\n\n"


def chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "stand-in",
        "choices": choices,
    }


def line(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def error_event() -> str:
    return line({"error": {"message": "secret detail", "code": 500}})


def utf16(said: str) -> list[str]:
    """One piece a UTF-16 unit: emoji come apart into lone surrogates."""
    data = said.encode("utf-16-be", "surrogatepass")
    return [chr(int.from_bytes(data[i : i + 2])) for i in range(0, len(data), 2)]


def last_user(messages: list[dict[str, Any]]) -> str:
    return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


def first_user(messages: list[dict[str, Any]]) -> str:
    return next((str(m["content"]) for m in messages if m["role"] == "user"), "")


def results_since_user(messages: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            found.insert(0, str(message["content"]))
    return found


def problems_of(messages: list[dict[str, Any]]) -> list[str]:
    """What a strict provider would refuse in this history; empty if it is valid."""
    found: list[str] = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            found.append(f"message {place} has the unknown role {role}")
        if role == "tool":
            call = str(message.get("tool_call_id"))
            if call in waiting:
                waiting.remove(call)
            else:
                found.append(f"message {place} is a result that no call waits for")
        elif waiting:
            found.append(f"message {place} comes before the results of {len(waiting)} calls")
            waiting = []
        asked = [str(call.get("id")) for call in message.get("tool_calls") or ()]
        if len(set(asked)) < len(asked):
            found.append(f"message {place} asks twice under one id")
        waiting += asked
        if not asked and not str(message.get("content") or "").strip():
            found.append(f"message {place} ({role}) is empty")
    if waiting:
        found.append(f"{len(waiting)} calls have no result")
    if not messages or messages[-1].get("role") not in {"user", "tool"}:
        found.append("the last message is nobody's question")
    return found
