"""What becomes of a turn that waits or runs when the user says something else (`on_busy`)."""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

import msgspec

from api.wire import OnBusy
from shared.db import Transaction
from shared.errors import ConversationBusy
from shared.events import Change, Turn
from shared.publisher import LiveText
from shared.store import endings
from shared.store.claims import holder_of
from shared.store.turns import active_turns


class Yielded(msgspec.Struct, frozen=True):
    """What making way has changed, and whom to tell."""

    changes: list[Change] = []
    holder: UUID | None = None
    """The worker whose turn is to end."""
    steered: Turn | None = None
    """The turn the message belongs to, instead of one of its own."""


async def make_way(
    tx: Transaction, conversation_id: UUID, on_busy: OnBusy, *, live: LiveText | None
) -> Yielded:
    """Acts on the head turn: the one that runs or is next to. The caller holds the lock.

    Turns that wait behind it stay: they were accepted before. Raises ConversationBusy.
    """
    head = next(iter(await active_turns(tx, conversation_id)), None)
    if head is None:
        return Yielded()
    match on_busy:
        case "enqueue":
            return Yielded()
        case "reject":
            raise ConversationBusy
        case "interrupt":
            changes, holder = await endings.cancel(tx, head, live=live)
            return Yielded(changes, holder)
        case "rollback":
            return await _roll_back(tx, head)
        case "steer":
            # A turn that is being cancelled reads nothing more.
            ending = await endings.is_being_cancelled(tx, head)
            return Yielded() if ending else Yielded(steered=head)
        case _:
            assert_never(on_busy)


async def _roll_back(tx: Transaction, head: Turn) -> Yielded:
    """Ended here and now: its worker can write nothing more, and nothing of it is to be kept."""
    holder = await holder_of(tx, head.id)
    ended = await endings.end_early(tx, head, "cancelled")
    return Yielded([*ended, *await endings.withdraw(tx, head)], holder)
