"""What a stream says, put together: pure, so that every cut and repetition can be tested.

`Transcript.apply` takes one event and returns what a reader sees happen. Committed messages are the
truth; streamed text only runs ahead of them, and its offsets make a lost or doubled piece visible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from shared.events import (
    OPEN_CALL,
    ClosingReason,
    ConversationUpdated,
    Event,
    Message,
    MessageCreated,
    MessageDelta,
    MessageUpdated,
    StreamClosing,
    ToolCall,
    Turn,
    TurnUpdated,
)


@dataclass(frozen=True)
class TextGrew:
    """More of an assistant's message, in order and never twice."""

    turn_id: UUID | None
    message_id: UUID
    text: str


@dataclass(frozen=True)
class TextVoided:
    """What was streamed of this message doesn't stand: its attempt is over."""

    turn_id: UUID | None
    message_id: UUID


@dataclass(frozen=True)
class MessageEnded:
    """The assistant's message is committed; its text has been told in full."""

    turn_id: UUID | None
    message: Message


@dataclass(frozen=True)
class ToolStarted:
    turn_id: UUID | None
    call: ToolCall


@dataclass(frozen=True)
class ToolEnded:
    turn_id: UUID | None
    message: Message


@dataclass(frozen=True)
class TurnChanged:
    turn: Turn


@dataclass(frozen=True)
class Gap:
    """Text is missing in between: follow again from the last change to get it."""


@dataclass(frozen=True)
class Closing:
    reason: ClosingReason


Happening = (
    TextGrew | TextVoided | MessageEnded | ToolStarted | ToolEnded | TurnChanged | Gap | Closing
)


@dataclass
class Streamed:
    """The message being streamed and the text of it so far (Python counts code points, too)."""

    message_id: UUID
    turn_id: UUID
    attempt: int
    text: str = ""


@dataclass
class Transcript:
    """The state of one conversation since the cursor its events were followed from."""

    messages: dict[UUID, Message] = field(default_factory=dict[UUID, Message])
    turns: dict[UUID, Turn] = field(default_factory=dict[UUID, Turn])
    streamed: Streamed | None = None

    def apply(self, event: Event) -> list[Happening]:
        match event:
            case MessageDelta():
                return self._delta(event)
            case MessageCreated(message=message) | MessageUpdated(message=message):
                return self._message(message)
            case TurnUpdated(turn=turn):
                return self._turn(turn)
            case ConversationUpdated():
                return []
            case StreamClosing(reason=reason):
                return [Closing(reason)]
            case _:
                assert_never(event)

    def awaited(self, turn_id: UUID) -> list[ToolCall]:
        """The calls of a turn that nobody has approved or denied, in order."""
        waiting = {
            message.tool_call_id
            for message in self.messages.values()
            if message.status == "awaiting_approval"
            and message.metadata.get("approval") == "awaited"
        }
        return [
            call
            for message in self.messages.values()
            if message.turn_id == turn_id
            for call in message.tool_calls or ()
            if call.id in waiting
        ]

    def _delta(self, delta: MessageDelta) -> list[Happening]:
        if self._is_late(delta):
            return []
        before = self._void_unless(delta.message_id, delta.attempt)
        have = self.streamed.text if self.streamed else ""
        if delta.offset > len(have):
            return [*before, Gap()]
        piece = delta.text[len(have) - delta.offset :]
        self.streamed = Streamed(delta.message_id, delta.turn_id, delta.attempt, have + piece)
        if not piece:
            return before
        return [*before, TextGrew(delta.turn_id, delta.message_id, piece)]

    def _is_late(self, delta: MessageDelta) -> bool:
        """Committed already, or of an attempt that is over."""
        turn = self.turns.get(delta.turn_id)
        newest = max(
            turn.attempt if turn else 0,
            self.streamed.attempt
            if self.streamed and self.streamed.turn_id == delta.turn_id
            else 0,
        )
        return delta.message_id in self.messages or delta.attempt < newest

    def _void_unless(self, message_id: UUID, attempt: int) -> list[Happening]:
        """Drops streamed text that isn't of this message and attempt."""
        old = self.streamed
        if old is None or (old.message_id == message_id and old.attempt == attempt):
            return []
        self.streamed = None
        return [TextVoided(old.turn_id, old.message_id)]

    def _message(self, message: Message) -> list[Happening]:
        before = self.messages.get(message.id)
        self.messages[message.id] = message
        if message.status == "withdrawn":
            return []
        match message.role:
            case "user":
                return []
            case "assistant":
                return self._assistant(message) if before is None else []
            case "tool":
                told = before is not None and before.status not in OPEN_CALL
                open_ = message.status in OPEN_CALL
                return [] if told or open_ else [ToolEnded(message.turn_id, message)]

    def _assistant(self, message: Message) -> list[Happening]:
        """Tells what the stream had not told yet. The committed text wins where they differ."""
        happened: list[Happening] = []
        told = ""
        if self.streamed and self.streamed.message_id == message.id:
            if message.content.startswith(self.streamed.text):
                told = self.streamed.text
            else:
                happened.append(TextVoided(message.turn_id, message.id))
            self.streamed = None
        if rest := message.content[len(told) :]:
            happened.append(TextGrew(message.turn_id, message.id, rest))
        happened.append(MessageEnded(message.turn_id, message))
        happened.extend(ToolStarted(message.turn_id, call) for call in message.tool_calls or ())
        return happened

    def _turn(self, turn: Turn) -> list[Happening]:
        before = self.turns.get(turn.id)
        if before is not None and turn.seq <= before.seq:
            return []
        self.turns[turn.id] = turn
        happened: list[Happening] = []
        old = self.streamed
        if old and old.turn_id == turn.id and (turn.attempt > old.attempt or is_over(turn)):
            self.streamed = None
            happened.append(TextVoided(old.turn_id, old.message_id))
        return [*happened, TurnChanged(turn)]


def is_over(turn: Turn) -> bool:
    return turn.status in {"completed", "failed", "cancelled"}
