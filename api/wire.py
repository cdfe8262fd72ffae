"""What goes in and out beyond `shared/events.py`: request bodies, lists, problems, cursors."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.errors import FieldError
from shared.events import Conversation, Message, Task, Turn
from shared.store.approvals import Decision
from shared.store.feedback import Feedback, Rating
from shared.store.search import SearchResult
from shared.text import MAX_CONTENT_CHARS, MAX_TITLE_CHARS, is_storable

MAX_REASON_CHARS = 1000
MAX_COMMENT_CHARS = 2000

Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]
Content = Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT_CHARS)]


def _refuse_unfit(name: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"`{name}` must not be blank")
    _refuse_unstorable(name, text)


def _refuse_unstorable(name: str, text: str) -> None:
    if not is_storable(text):
        raise ValueError(f"`{name}` must not contain NUL or half of a surrogate pair")


class NewConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title | None = None

    def __post_init__(self) -> None:
        if self.title is not None:
            _refuse_unfit("title", self.title)


class NewTitle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title

    def __post_init__(self) -> None:
        _refuse_unfit("title", self.title)


OnBusy = Literal["enqueue", "reject", "interrupt", "rollback", "steer"]


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`on_busy` says what becomes of a turn of the conversation that waits or runs."""

    content: Content
    on_busy: OnBusy = "enqueue"

    def __post_init__(self) -> None:
        _refuse_unfit("content", self.content)


class NewDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner says to a tool call that awaits approval; the model reads the reason."""

    tool_call_id: Annotated[str, Meta(min_length=1, max_length=100)]
    decision: Decision
    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARS)] = ""

    def __post_init__(self) -> None:
        _refuse_unstorable("tool_call_id", self.tool_call_id)
        _refuse_unstorable("reason", self.reason)


class NewFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rating: Rating
    comment: Annotated[str, Meta(max_length=MAX_COMMENT_CHARS)] = ""

    def __post_init__(self) -> None:
        _refuse_unstorable("comment", self.comment)


class Submitted(msgspec.Struct, frozen=True):
    """The message that was stored and the turn that answers it.

    Following the conversation from `since` shows everything from this message on.
    `assistant_message` is there if the request asked to wait.
    """

    message: Message
    turn: Turn
    since: int
    assistant_message: Message | UnsetType | None = UNSET


class NewChat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to say; without a `conversation_id` it begins a conversation."""

    message: Content
    conversation_id: UUID | None = None

    def __post_init__(self) -> None:
        _refuse_unfit("message", self.message)


class Chat(msgspec.Struct, frozen=True):
    """`assistant_message` is null as long as the turn goes on, or if it ended without a word."""

    conversation_id: UUID
    user_message: Message
    assistant_message: Message | None
    turn: Turn


class ConversationWithMessages(Conversation, frozen=True):
    messages: list[Message]
    has_more: bool


class Conversations(msgspec.Struct, frozen=True):
    conversations: list[Conversation]
    next_cursor: str | None


class Messages(msgspec.Struct, frozen=True):
    messages: list[Message]
    turns: list[Turn]
    total_count: int
    next_since: int
    has_more: bool


class Tasks(msgspec.Struct, frozen=True):
    tasks: list[Task]
    next_cursor: str | None


class SearchResults(msgspec.Struct, frozen=True):
    """The best first, of equals the newest."""

    results: list[SearchResult]
    next_cursor: str | None


class FeedbackList(msgspec.Struct, frozen=True):
    feedback: list[Feedback]
    next_cursor: str | None


class Export(msgspec.Struct, frozen=True):
    """A whole conversation, up to its change `conversation.seq`."""

    exported_at: datetime
    conversation: Conversation
    messages: list[Message]
    turns: list[Turn]
    feedback: list[Feedback]


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"]


class Part(msgspec.Struct, frozen=True):
    status: Literal["ok", "unavailable"]
    detail: str | UnsetType = UNSET


class Readiness(msgspec.Struct, frozen=True):
    status: Literal["ready", "unavailable"]
    parts: dict[str, Part]


class Session(msgspec.Struct, frozen=True):
    """Who is asking. `expires_at` is null where access has no end of its own."""

    user_id: str
    expires_at: datetime | None


class Ticket(msgspec.Struct, frozen=True):
    ticket: str
    expires_at: datetime


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `code` is stable, for programs; `detail` is a sentence, for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | UnsetType = UNSET
