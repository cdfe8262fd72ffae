"""Our events of one turn as ChatKit's events of a thread. No input, no output.

A viewer of ours may clear text that was never committed as soon as a new attempt begins; a client
of ChatKit has to be told: the item it belongs to is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import assert_never
from uuid import UUID

from chatkit.types import (
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ErrorEvent,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    ThreadUpdatedEvent,
)

from api.chatkit.asking import Followed
from api.chatkit.items import item_of, parts_of, thread_of, tool_title
from shared.events import (
    TERMINAL,
    ConversationUpdated,
    Event,
    Message,
    MessageCreated,
    MessageDelta,
    MessageUpdated,
    StreamClosing,
    Turn,
    TurnStatus,
    TurnUpdated,
)

Told = Iterator[ThreadStreamEvent]

CANCELLED = "The answer was cancelled."
AWAITS = "A tool call waits for approval. It can't be given here; the answer goes on once it is."
DELETED = "The conversation was deleted."
CUT = "The connection has ended; the answer goes on without it."
FAILED = "The turn failed."


class Relay:
    """`ended`: there is nothing more to tell of the turn."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._attempt = 0
        self._writing: UUID | None = None
        """The message whose text is on its way and not committed."""
        self._text = ""
        self.told: dict[UUID, None] = {}
        """The items the client has, in order."""
        self.ended = False
        self.status: TurnStatus | None = None

    def hear(self, event: Event) -> Told:
        match event:
            case MessageCreated(message=message) | MessageUpdated(message=message):
                if message.turn_id == self._followed.turn_id:
                    yield from self._message(message)
            case MessageDelta():
                if event.turn_id == self._followed.turn_id:
                    yield from self._delta(event)
            case TurnUpdated(turn=turn):
                if turn.id == self._followed.turn_id:
                    yield from self._turn(turn)
            case ConversationUpdated(conversation=conversation):
                yield ThreadUpdatedEvent(thread=thread_of(conversation))
            case StreamClosing(reason=reason):
                self.ended = True
                deleted = reason == "deleted"
                yield ErrorEvent(message=DELETED if deleted else CUT, allow_retry=not deleted)
            case _:
                assert_never(event)

    def take_back(self) -> Told:
        """The turn was rolled back: its messages are not part of the thread any more."""
        for item_id in [*self.told]:
            yield from self._removed(item_id)

    def _message(self, message: Message) -> Told:
        if message.status == "withdrawn":
            yield from self._removed(message.id)
            return
        match message.role:
            case "user":
                if message.id != self._followed.question_id or self._followed.tells_question:
                    yield from self._done(message)
            case "assistant":
                yield from self._committed(message)
            case "tool":
                yield from self._tool(message)

    def _committed(self, message: Message) -> Told:
        if self._writing == message.id and message.content.strip():
            part = AssistantMessageContentPartDone(
                content_index=0, content=parts_of(message.content)
            )
            yield ThreadItemUpdatedEvent(item_id=str(message.id), update=part)
            self._writing = None
        else:
            yield from self._void()
        yield from self._done(message)

    def _tool(self, message: Message) -> Told:
        if message.status == "running":
            yield ProgressUpdateEvent(text=tool_title(message))
        if message.status not in {"running", "awaiting_approval"}:
            yield from self._done(message)
        elif message.id not in self.told and (item := item_of(message)) is not None:
            self.told[message.id] = None
            yield ThreadItemAddedEvent(item=item)

    def _done(self, message: Message) -> Told:
        item = item_of(message)
        if item is not None:
            self.told[message.id] = None
            yield ThreadItemDoneEvent(item=item)

    def _delta(self, delta: MessageDelta) -> Told:
        if delta.attempt < self._attempt:
            return
        if delta.message_id != self._writing or delta.offset != len(self._text):
            yield from self._void()
            yield from self._begin(delta.message_id)
        self._text += delta.text
        piece = AssistantMessageContentPartTextDelta(content_index=0, delta=delta.text)
        yield ThreadItemUpdatedEvent(item_id=str(delta.message_id), update=piece)

    def _begin(self, message_id: UUID) -> Told:
        self._writing, self._text = message_id, ""
        self.told[message_id] = None
        yield ThreadItemAddedEvent(
            item=AssistantMessageItem(
                id=str(message_id),
                thread_id=str(self._followed.conversation_id),
                created_at=datetime.now(UTC),
                content=[],
            )
        )
        part = AssistantMessageContentPartAdded(content_index=0, content=parts_of(""))
        yield ThreadItemUpdatedEvent(item_id=str(message_id), update=part)

    def _void(self) -> Told:
        """What was being written will not be committed."""
        if self._writing is not None:
            yield from self._removed(self._writing)

    def _removed(self, item_id: UUID) -> Told:
        if self._writing == item_id:
            self._writing, self._text = None, ""
        if item_id in self.told:
            del self.told[item_id]
            yield ThreadItemRemovedEvent(item_id=str(item_id))

    def _turn(self, turn: Turn) -> Told:
        if turn.attempt > self._attempt:
            self._attempt = turn.attempt
            yield from self._void()
        if turn.status in TERMINAL or turn.status == "awaiting_approval":
            yield from self._void()
            self.ended, self.status = True, turn.status
            yield from _last_word(turn)


def _last_word(turn: Turn) -> Told:
    match turn.status:
        case "failed":
            error = turn.error
            yield ErrorEvent(
                message=error.message if error else FAILED,
                allow_retry=error.retryable if error else True,
            )
        case "cancelled":
            yield NoticeEvent(level="info", message=CANCELLED)
        case "awaiting_approval":
            yield NoticeEvent(level="warning", message=AWAITS)
        case _:
            pass
