"""Rows of the history as input for the Agents SDK. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec

from shared.events import Message, ToolCall
from shared.store.messages import CLOSED_CALL

if TYPE_CHECKING:
    from agents import TResponseInputItem


def input_items(messages: Sequence[Message]) -> list[TResponseInputItem]:
    """The conversation as a model can read it, whatever the rows went through.

    A tool's result stands right behind the call that asked for it, and a call without a result
    gets one that says so. A result whose call is older than the window is left out.
    """
    items: list[Any] = []
    for message in messages:
        match message.role:
            case "user":
                items.append({"role": "user", "content": message.content})
            case "assistant":
                if message.content.strip():
                    items.append({"role": "assistant", "content": message.content})
                items += [_call(call) for call in message.tool_calls or ()]
                items += [_result(call) for call in message.tool_calls or ()]
            case "tool":
                pass
    return cast("list[TResponseInputItem]", items)


def open_calls(messages: Sequence[Message], turn_id: UUID) -> list[ToolCall]:
    """The calls of a turn that were committed and have no result: an earlier attempt died."""
    return [
        call
        for message in messages
        if message.turn_id == turn_id
        for call in message.tool_calls or ()
        if call.status == "running"
    ]


def _call(call: ToolCall) -> dict[str, str]:
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": call.tool_name,
        "arguments": msgspec.json.encode(call.arguments).decode(),
    }


def _result(call: ToolCall) -> dict[str, str]:
    result = CLOSED_CALL if call.status == "running" else call.result
    return {
        "type": "function_call_output",
        "call_id": call.id,
        "output": msgspec.json.encode(result).decode(),
    }
