"""The shapes of the wire and the events of a stream (protocol.md, "Routes" and "Events").

Both processes use them: a worker publishes the very object that `GET` would show.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

TurnStatus = Literal["queued", "running", "awaiting_approval", "completed", "failed", "cancelled"]
MessageRole = Literal["user", "assistant", "tool"]
MessageStatus = Literal[
    "completed", "running", "awaiting_approval", "failed", "cancelled", "withdrawn"
]
ClosingReason = Literal["lifetime", "shutdown", "unauthorized", "deleted", "slow"]

TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
OPEN_CALL: frozenset[str] = frozenset({"running", "awaiting_approval"})
"""A tool message in these has no result yet."""


class TurnError(msgspec.Struct, frozen=True):
    """Why a turn failed: a stable code, a sentence for the user, and whether to try again."""

    code: str
    message: str
    retryable: bool


class Turn(msgspec.Struct, frozen=True):
    id: UUID
    conversation_id: UUID
    user_message_id: UUID
    status: TurnStatus
    attempt: int
    position: int | None
    error: TurnError | None
    model: str | None
    usage: dict[str, Any] | None
    seq: int
    """The change that last touched it."""
    created_at: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    finished_at: datetime | None


class ToolCall(msgspec.Struct, frozen=True):
    """What the model asked for, and the result side, read from the tool message."""

    id: str
    tool_name: str
    arguments: dict[str, Any]
    status: MessageStatus
    result: Any
    started_at: datetime | None
    duration_ms: int | None


class Message(msgspec.Struct, frozen=True):
    id: UUID
    conversation_id: UUID
    turn_id: UUID | None
    seq: int
    role: MessageRole
    content: str
    status: MessageStatus
    tool_calls: list[ToolCall] | None
    tool_call_id: str | None
    metadata: dict[str, Any]
    created_at: datetime


class Conversation(msgspec.Struct, frozen=True):
    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    message_count: int
    last_message_preview: str
    seq: int
    """The conversation's last change: a cursor to follow it from."""
    active_turn: Turn | None


class Task(msgspec.Struct, frozen=True):
    id: UUID
    title: str
    description: str
    status: Literal["open", "completed"]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class MessageCreated(msgspec.Struct, frozen=True, tag_field="event", tag="message.created"):
    seq: int
    message: Message


class MessageUpdated(msgspec.Struct, frozen=True, tag_field="event", tag="message.updated"):
    seq: int
    message: Message


class TurnUpdated(msgspec.Struct, frozen=True, tag_field="event", tag="turn.updated"):
    seq: int
    turn: Turn


class ConversationUpdated(
    msgspec.Struct, frozen=True, tag_field="event", tag="conversation.updated"
):
    seq: int
    conversation: Conversation


class MessageDelta(msgspec.Struct, frozen=True, tag_field="event", tag="message.delta"):
    """A piece of the text being streamed; not durable. `offset` counts code points."""

    turn_id: UUID
    message_id: UUID
    attempt: int
    offset: int
    text: str


class StreamClosing(msgspec.Struct, frozen=True, tag_field="event", tag="stream.closing"):
    reason: ClosingReason


Change = MessageCreated | MessageUpdated | TurnUpdated | ConversationUpdated
Event = Change | MessageDelta | StreamClosing


def moves_base(change: Change) -> bool:
    """Whether text that was being streamed before this change no longer stands.

    The seq of the last such change is the "base" of the text in flight: deltas carry the base
    they were made on, so that a piece from before a commit, a cancel or a new attempt is known
    for what it is by comparing two numbers. Messages of the user and the queue behind a running
    turn don't touch its text; a turn that waits once more has ended before.
    """
    match change:
        case TurnUpdated(turn=turn):
            return turn.status != "queued" or turn.attempt > 0
        case MessageCreated(message=message) | MessageUpdated(message=message):
            return message.role != "user"
        case ConversationUpdated():
            return False
