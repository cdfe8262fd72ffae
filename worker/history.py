"""Rows of the history as input for the Agents SDK. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec

from shared.events import OPEN_CALL, Message, ToolCall
from shared.store.calls import CLOSED_CALL

if TYPE_CHECKING:
    from agents import TResponseInputItem

READ_TO = "read_to"
"""In an assistant message's metadata: what the user said after this `seq` was not read by then."""


def input_items(messages: Sequence[Message], turn_id: UUID) -> list[TResponseInputItem]:
    """The conversation as a model that works on `turn_id` can read it, whatever it went through.

    A tool's result stands right behind the call that asked for it, and a call without a result
    gets one that says so. A result whose call is older than the window is left out, and so is
    what an earlier try at this very turn began to say.
    """
    items: list[Any] = []
    for message in in_reading_order(messages):
        match message.role:
            case "user":
                items.append({"role": "user", "content": message.content})
            case "assistant":
                broken_off = message.turn_id == turn_id and message.status != "completed"
                if message.content.strip() and not broken_off:
                    items.append({"role": "assistant", "content": message.content})
                items += [_call(call) for call in message.tool_calls or ()]
                items += [_result(call) for call in message.tool_calls or ()]
            case "tool":
                pass
    return cast("list[TResponseInputItem]", items)


def in_reading_order(messages: Sequence[Message]) -> list[Message]:
    """What was said while the model was writing stands behind what it wrote without knowing it."""
    ordered: list[Message] = []
    for message in messages:
        read_to: int | None = message.metadata.get(READ_TO)
        late = [
            said
            for said in ordered
            if read_to is not None
            and said.role == "user"
            and said.turn_id == message.turn_id
            and said.seq > read_to
        ]
        ordered = [other for other in ordered if other not in late] + [message, *late]
    return ordered


def calls_of(messages: Sequence[Message], turn_id: UUID) -> list[ToolCall]:
    """The tool calls that a turn has committed so far."""
    return [
        call
        for message in messages
        if message.turn_id == turn_id
        for call in message.tool_calls or ()
    ]


def _call(call: ToolCall) -> dict[str, str]:
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": call.tool_name,
        "arguments": msgspec.json.encode(call.arguments).decode(),
    }


def _result(call: ToolCall) -> dict[str, str]:
    result = CLOSED_CALL if call.status in OPEN_CALL else call.result
    return {
        "type": "function_call_output",
        "call_id": call.id,
        "output": msgspec.json.encode(result).decode(),
    }
