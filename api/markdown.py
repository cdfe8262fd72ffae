"""A conversation as Markdown for people. What was said stands there as it was said, quoted: no
heading, fence or comment in it reaches beyond its message. Pure.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from shared.events import Conversation, Message, ToolCall, Turn
from shared.store.feedback import Feedback
from shared.text import MAX_TITLE_CHARS, one_line

NAMES = {"user": "User", "assistant": "Assistant"}
RATINGS = {"up": "Good", "down": "Bad"}
MAX_ERROR_CHARS = 500
_FENCES = re.compile(r"`{3,}")
_LINE_END = re.compile(r"\r\n?|\n")
_SIGNS = re.compile(r"([\\`*_\[\]<&#])")


def head(conversation: Conversation, now: datetime) -> str:
    return (
        f"# {plain(conversation.title, MAX_TITLE_CHARS)}\n\n"
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
    said = quoted(message.content) if message.content else ""
    return heading + said + "".join(map(of_call, message.tool_calls or ()))


def of_call(call: ToolCall) -> str:
    took = "" if call.duration_ms is None else f" · {call.duration_ms} ms"
    shown = {"tool_name": call.tool_name, "arguments": call.arguments, "result": call.result}
    text = msgspec.json.format(msgspec.json.encode(shown)).decode()
    return f"Tool call · {call.status}{took}\n\n{fenced(text, 'json')}"


def of_turn(turn: Turn) -> str:
    if turn.error is None:
        return ""
    said = plain(turn.error.message, MAX_ERROR_CHARS)
    return f"- {_time(turn.created_at)}: {said} (`{turn.error.code}`)\n\n"


def of_feedback(feedback: Feedback) -> str:
    comment = quoted(feedback.comment) if feedback.comment else ""
    return f"{RATINGS[feedback.rating]}, of message {feedback.message_id}\n\n{comment}"


def quoted(text: str) -> str:
    """Whatever begins in a quotation ends with it."""
    lines = _LINE_END.split(text)
    return "".join(f"> {line}\n" if line else ">\n" for line in lines) + "\n"


def plain(text: str, limit: int) -> str:
    """On one line, and none of its signs means anything."""
    return _SIGNS.sub(r"\\\1", one_line(text, limit))


def fenced(text: str, language: str = "") -> str:
    """A block whose fence is longer than any in the text: nothing in it can end it."""
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n\n"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
