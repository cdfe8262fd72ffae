"""Identifiers: UUID version 7, so that they sort by the time they were made."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    return uuid7()


def first_id_of(moment: datetime) -> UUID:
    """The smallest id that can have been made then (RFC 9562: 48 bits of milliseconds lead)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62)


def call_id(message_id: UUID) -> str:
    """The id of a tool call, made from its tool message's: providers repeat theirs, we never do.

    37 characters; the longest a provider takes is 40.
    """
    return f"call_{message_id.hex}"


def message_id_of_call(tool_call_id: str) -> UUID:
    return UUID(hex=tool_call_id.removeprefix("call_"))
