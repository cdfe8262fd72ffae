"""A conversation as Markdown for people. What was said stands there as it was said. Pure."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from shared.events import Conversation, Message, ToolCall, Turn
from shared.store.feedback import Feedback
from shared.text import MAX_TITLE_CHARS, one_line

NAMES = {"user": "User", "assistant": "Assistant"}
RATINGS = {"up": "Good", "down": "Bad"}
_FENCES = re.compile(r"`{3,}")


def head(conversation: Conversation, now: datetime) -> str:
    return (
        f"# {one_line(conversation.title, MAX_TITLE_CHARS)}\n\n"
        f"- Conversation: {conversation.id}\n"
        f"- Begun: {_time(conversation.created_at)}\n"
        f"- Messages: {conversation.message_count}\n"
        f"- Exported: {_time(now)}\n\n"
    )


def of_message(message: Message) -> str:
    """The results of tools stand with the calls that asked for them."""
    if message.role == "tool":
        return ""
    status = "" if message.status == "completed" else f" · {message.status}"
    heading = f"## {NAMES[message.role]} · {_time(message.created_at)}{status}\n\n"
    said = f"{message.content}\n\n" if message.content else ""
    return heading + said + "".join(map(of_call, message.tool_calls or ()))


def of_call(call: ToolCall) -> str:
    took = "" if call.duration_ms is None else f" · {call.duration_ms} ms"
    shown = {"tool_name": call.tool_name, "arguments": call.arguments, "result": call.result}
    text = msgspec.json.format(msgspec.json.encode(shown)).decode()
    return f"Tool call · {call.status}{took}\n\n{fenced(text, 'json')}"


def of_turn(turn: Turn) -> str:
    if turn.error is None:
        return ""
    return f"- {_time(turn.created_at)}: {turn.error.message} (`{turn.error.code}`)\n\n"


def of_feedback(feedback: Feedback) -> str:
    comment = f"\n\n{fenced(feedback.comment)}" if feedback.comment else "\n\n"
    return f"{RATINGS[feedback.rating]}, of message {feedback.message_id}{comment}"


def fenced(text: str, language: str = "") -> str:
    """A block whose fence is longer than any in the text: nothing in it can end it."""
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n\n"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
