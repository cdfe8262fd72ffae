"""Cursors: where a reader stands and where a page begins, as text and back."""

from __future__ import annotations

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.follower import Cursor
from shared.errors import InvalidCursor
from shared.events import Conversation, Task
from shared.store.search import SearchResult

MAX_SEQ = 2**63 - 1
_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME = Annotated[datetime, Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = struct.Struct(">q16s")
_FOUND = struct.Struct(">f16s")


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


def search_cursor(last: SearchResult) -> str:
    return _encode(_FOUND.pack(last.rank, last.message_id.bytes))


def parse_search_cursor(text: str) -> tuple[float, UUID]:
    try:
        rank, message_id = _FOUND.unpack(_decode(text))
    except struct.error:
        raise InvalidCursor from None
    if not isfinite(rank):
        raise InvalidCursor
    return rank, UUID(bytes=message_id)


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
