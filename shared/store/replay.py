"""What happened after N: the rows whose `changed_seq` is greater, in that order.

There is no event table, so a replay never expires and ends on what `GET` shows.
"""

from __future__ import annotations

from uuid import UUID

import msgspec
from sqlalchemy import Uuid, bindparam, func, or_, select

from shared.db import Transaction
from shared.events import Change, TurnUpdated
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.statement import Statement
from shared.store.conversations import last_seq, renamed_after
from shared.store.messages import messages_changed_after
from shared.store.turns import among, turns_changed_after


class Replay(msgspec.Struct, frozen=True):
    """`changes` in order; `cursor` is what has been seen once they are.

    `base` is the last change that touches text in flight (`events.moves_base`), and `active`
    says whether there may be any, because a turn runs or is next: both as of `cursor`, and meant
    only if `complete`.
    """

    changes: list[Change]
    cursor: int
    last_seq: int
    base: int
    active: bool

    @property
    def complete(self) -> bool:
        return self.cursor >= self.last_seq


async def replay(
    tx: Transaction, conversation_id: UUID, *, owner: str, since: int, limit: int
) -> Replay | None:
    """At most `limit` changes after `since`; None if the conversation isn't the owner's.

    Call it in a snapshot: its statements must see one state.
    """
    last = await last_seq(tx, conversation_id, owner=owner)
    if last is None:
        return None
    changes: list[Change] = []
    if last > since:
        messages = await messages_changed_after(tx, conversation_id, since=since, limit=limit + 1)
        turns = await turns_changed_after(tx, conversation_id, since=since, limit=limit + 1)
        renamed = await renamed_after(tx, conversation_id, owner=owner, since=since)
        changes = [
            *(stored.as_change(since) for stored in messages),
            *(TurnUpdated(turn.seq, turn) for turn in turns),
            *([renamed] if renamed else []),
        ]
        changes.sort(key=lambda change: change.seq)
    cursor = last
    if len(changes) > limit:
        changes = changes[:limit]
        cursor = changes[-1].seq
    base, active = await _base(tx, conversation_id)
    return Replay(changes, cursor, last, base, active)


_this = bindparam("conversation_id", type_=Uuid)
# The last ones by their index, where `max` would read all there are.
_moved_message = (
    select(MessageRow.changed_seq)
    .where(MessageRow.conversation_id == _this, MessageRow.role != "user")
    .order_by(MessageRow.changed_seq.desc())
    .limit(1)
    .scalar_subquery()
)
_moved_turn = (
    select(TurnRow.changed_seq)
    .where(
        TurnRow.conversation_id == _this,
        or_(TurnRow.status != "queued", TurnRow.attempt > 0),
    )
    .order_by(TurnRow.changed_seq.desc())
    .limit(1)
    .scalar_subquery()
)
_BASE = Statement(
    select(
        func.coalesce(func.greatest(_moved_message, _moved_turn), 0).label("base"),
        select(TurnRow.id)
        .where(TurnRow.conversation_id == _this, among(TurnRow.status, ("queued", "running")))
        .exists()
        .label("active"),
    )
)


async def _base(tx: Transaction, conversation_id: UUID) -> tuple[int, bool]:
    row = await tx.first(_BASE, {"conversation_id": conversation_id})
    assert row is not None
    return row.base, row.active
