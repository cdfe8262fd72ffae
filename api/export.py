"""A whole conversation as a file: read in pages, so that it takes little memory however long it is.

Each page is a snapshot of its own: no connection is held while the client reads. What was said
after the export began is not in it. Where the conversation is deleted meanwhile the answer breaks
off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from api import markdown
from shared.db import Database, Transaction
from shared.errors import NotFound
from shared.events import Conversation, Message, Turn
from shared.store.conversations import last_seq
from shared.store.feedback import Feedback, list_feedback
from shared.store.messages import messages_between
from shared.store.turns import turns_between

PAGE = 100
NAME_CHARS = 60

T = TypeVar("T")
Fetch = Callable[[Transaction, int], Awaitable[list[tuple[int, T]]]]

_encode = msgspec.json.encode
_UNSAFE = re.compile(r"[^a-z0-9]+")


class Exporter:
    """One conversation as it was at its change `conversation.seq`."""

    def __init__(self, db: Database, conversation: Conversation, *, owner: str) -> None:
        self._db = db
        self._owner = owner
        self._id: UUID = conversation.id
        self._last = conversation.seq
        self.conversation = conversation
        self.now = datetime.now(UTC)

    async def json(self) -> AsyncGenerator[bytes]:
        yield b'{"exported_at":' + _encode(self.now)
        yield b',"conversation":' + _encode(self.conversation)
        async for piece in self._array("messages", self._messages):
            yield piece
        async for piece in self._array("turns", self._turns):
            yield piece
        async for piece in self._array("feedback", self._feedback):
            yield piece
        yield b"}"

    async def markdown(self) -> AsyncGenerator[bytes]:
        yield markdown.head(self.conversation, self.now).encode()
        async for messages in self._pages(self._messages):
            yield "".join(map(markdown.of_message, messages)).encode()
        async for text in self._section("Turns that failed", self._turns, markdown.of_turn):
            yield text
        async for text in self._section("Feedback", self._feedback, markdown.of_feedback):
            yield text

    async def _array(self, name: str, fetch: Fetch[T]) -> AsyncGenerator[bytes]:
        yield f',"{name}":['.encode()
        separator = b""
        async for page in self._pages(fetch):
            yield separator + b",".join(map(_encode, page))
            separator = b","
        yield b"]"

    async def _section(
        self, title: str, fetch: Fetch[T], written: Callable[[T], str]
    ) -> AsyncGenerator[bytes]:
        """Left out where nothing stands in it."""
        begun = False
        async for page in self._pages(fetch):
            text = "".join(map(written, page))
            if text and not begun:
                yield f"## {title}\n\n".encode()
                begun = True
            yield text.encode()

    async def _pages(self, fetch: Fetch[T]) -> AsyncGenerator[list[T]]:
        """Raises NotFound once the conversation is deleted."""
        after = 0
        while True:
            async with self._db.look(self._owner) as tx:
                if await last_seq(tx, self._id, owner=self._owner) is None:
                    raise NotFound
                found = await fetch(tx, after)
            if not found:
                return
            yield [item for _, item in found]
            after = found[-1][0]

    async def _messages(self, tx: Transaction, after: int) -> list[tuple[int, Message]]:
        found = await messages_between(tx, self._id, after=after, last=self._last, limit=PAGE)
        return [(message.seq, message) for message in found]

    async def _turns(self, tx: Transaction, after: int) -> list[tuple[int, Turn]]:
        return await turns_between(tx, self._id, after=after, last=self._last, limit=PAGE)

    async def _feedback(self, tx: Transaction, after: int) -> list[tuple[int, Feedback]]:
        found = await list_feedback(tx, self._id, limit=PAGE, after=after)
        return [(seq, feedback) for seq, feedback in found if seq <= self._last]


def file_name(conversation: Conversation, ending: str) -> str:
    """Of the title what every file system and header can take, and the day it began."""
    plain = unicodedata.normalize("NFKD", conversation.title).encode("ascii", "ignore").decode()
    slug = _UNSAFE.sub("-", plain.lower())[:NAME_CHARS].strip("-") or "conversation"
    return f"{slug}-{conversation.created_at:%Y-%m-%d}.{ending}"
