"""A strict parser of server-sent events: it refuses what a browser would silently put up with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

NAMES = frozenset(
    {
        "message.created",
        "message.updated",
        "message.delta",
        "turn.updated",
        "conversation.updated",
        "stream.closing",
    }
)


class FormError(Exception):
    """The bytes are not a stream as the protocol describes it."""


@dataclass(frozen=True)
class Event:
    """One event as it came over the wire."""

    name: str
    data: dict[str, Any]
    id: str = ""


@dataclass
class Parser:
    """The bytes of one connection, in whatever pieces they come."""

    _rest: bytes = field(default=b"")

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that end in this piece. Raises FormError."""
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        for block in blocks:
            event = parse(block)
            if event is not None:
                yield event


def parse(block: bytes) -> Event | None:
    """None for what carries no event: comments, and how long to wait before coming again."""
    fields: dict[str, str] = {}
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError:
        raise FormError(f"not UTF-8: {block[:80]!r}") from None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "":
            continue
        if name not in {"event", "data", "id", "retry"} or name in fields:
            raise FormError(f"unexpected line {line[:80]!r}")
        fields[name] = value.removeprefix(" ")
    if "event" not in fields and "data" not in fields:
        return None
    return _event(fields)


def _event(fields: dict[str, str]) -> Event:
    name = fields.get("event", "")
    if name not in NAMES:
        raise FormError(f"unknown event {name!r}")
    try:
        data = msgspec.json.decode(fields.get("data", ""), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise FormError(f"the data of {name} is not an object of JSON") from None
    if ("id" in fields) == (name == "stream.closing"):
        raise FormError(f"{name} has {'an' if 'id' in fields else 'no'} id")
    return Event(name, data, fields.get("id", ""))
