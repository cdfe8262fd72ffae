"""What one viewer has seen, and what of the feed it must still be told. No input, no output.

A viewer stands at `N:M`: all changes up to N, and M characters of the message now being streamed.
Live text belongs to a base, the last change that touches it (`events.moves_base`): text on an
older base is void, text on a newer one means that changes were missed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.events import Change, Event, MessageDelta, TurnUpdated, moves_base
from shared.publisher import Delta, LiveText
from shared.store.replay import Replay


class Cursor(msgspec.Struct, frozen=True):
    """`seq` or `seq:offset`, as in an event's id."""

    seq: int
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.seq}:{self.offset}" if self.offset else str(self.seq)


class BehindError(Exception):
    """Something before this was missed: read the rows, then the live text."""


Told = tuple[Cursor, Event]


class Follower:
    __slots__ = ("_base", "active", "cursor")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.active = True
        """A turn waits or runs, as far as this viewer knows."""
        self._base: int | None = None

    def on_replay(self, replay: Replay) -> Iterator[Told]:
        """Rows since the cursor. Call until a replay is complete."""
        if replay.base > self.cursor.seq:
            self.cursor = Cursor(self.cursor.seq)
        for change in replay.changes:
            yield self._apply(change)
        if replay.complete:
            self.cursor = Cursor(replay.cursor, self.cursor.offset)
            self._base = replay.base
            self.active = replay.active

    def on_changes(self, changes: list[Change]) -> Iterator[Told]:
        """Raises BehindError where a number is missing; those told before stay told."""
        for change in changes:
            if change.seq <= self.cursor.seq:
                continue
            if change.seq > self.cursor.seq + 1:
                raise BehindError
            yield self._apply(change)
            if isinstance(change, TurnUpdated):
                # A turn that ended may have others behind it: the rows will tell.
                self.active = True

    def on_delta(self, told: Delta) -> Told | None:
        """The part of it that is new. Raises BehindError if text or changes are missing."""
        if self._base is None or told.base > self._base:
            raise BehindError
        delta, seen = told.delta, self.cursor.offset
        if told.base < self._base or delta.offset + len(delta.text) <= seen:
            return None
        if delta.offset > seen:
            raise BehindError
        fresh = delta
        if delta.offset < seen:
            text = delta.text[seen - delta.offset :]
            fresh = msgspec.structs.replace(delta, offset=seen, text=text)
        self.cursor = Cursor(self.cursor.seq, seen + len(fresh.text))
        return self.cursor, fresh

    def on_live_text(self, live: LiveText) -> Told | None:
        """The text in flight as a whole: one delta from the first character on."""
        delta = MessageDelta(live.turn_id, live.message_id, live.attempt, 0, live.text)
        return self.on_delta(Delta(live.base, delta))

    def _apply(self, change: Change) -> Told:
        offset = self.cursor.offset
        if moves_base(change):
            self._base, offset = change.seq, 0
        self.cursor = Cursor(change.seq, offset)
        return self.cursor, change
