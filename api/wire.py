"""What goes in and out beyond `shared/events.py`: request bodies, lists, problems, cursors."""

from __future__ import annotations

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.follower import Cursor
from shared.errors import FieldError, InvalidCursor
from shared.events import Conversation, Message, Task, Turn
from shared.text import MAX_CONTENT_CHARS, MAX_TITLE_CHARS, is_storable

MAX_SEQ = 2**63 - 1
_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME = Annotated[datetime, Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = struct.Struct(">q16s")

Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]
Content = Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT_CHARS)]


def _refuse_unfit(name: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"`{name}` must not be blank")
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


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"]


class Part(msgspec.Struct, frozen=True):
    status: Literal["ok", "unavailable"]
    detail: str | UnsetType = UNSET


class Readiness(msgspec.Struct, frozen=True):
    status: Literal["ready", "unavailable"]
    parts: dict[str, Part]


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `code` is stable, for programs; `detail` is a sentence, for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | UnsetType = UNSET


def parse_seq(text: str) -> int:
    """A non-negative integer in plain digits; raises InvalidCursor."""
    if not _SEQ.fullmatch(text) or int(text) > MAX_SEQ:
        raise InvalidCursor("A cursor is a non-negative integer.")
    return int(text)


def parse_since(text: str) -> int | datetime:
    """A seq or, for convenience, a time; raises InvalidCursor."""
    if _SEQ.fullmatch(text):
        return parse_seq(text)
    try:
        # A "+" that a client left unquoted arrives as a space.
        time = msgspec.convert(text.replace(" ", "+"), _TIME)
        return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidCursor(
            "`since` is a non-negative integer, or an RFC 3339 time with an offset."
        ) from None


def parse_event_cursor(text: str) -> Cursor:
    """`N` or `N:M`, as in the `id:` of an event; raises InvalidCursor."""
    seq, colon, offset = text.partition(":")
    return Cursor(parse_seq(seq), parse_seq(offset) if colon else 0)


def conversation_cursor(last: Conversation) -> str:
    """Where the next page begins: behind this one, in the order of `updated_at` and id."""
    microseconds = (last.updated_at - _EPOCH) // timedelta(microseconds=1)
    return _encode(_PLACE.pack(microseconds, last.id.bytes))


def parse_conversation_cursor(text: str) -> tuple[datetime, UUID]:
    try:
        microseconds, conversation_id = _PLACE.unpack(_decode(text))
        return _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=conversation_id)
    except (struct.error, OverflowError):
        raise InvalidCursor from None


def task_cursor(last: Task) -> str:
    return _encode(last.id.bytes)


def parse_task_cursor(text: str) -> UUID:
    try:
        return UUID(bytes=_decode(text))
    except ValueError:
        raise InvalidCursor from None


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise InvalidCursor from None
    if _encode(data) != text:  # the decoder skips what it doesn't know
        raise InvalidCursor
    return data
