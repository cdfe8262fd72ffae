"""Turns whose holder died before it could end them."""

from __future__ import annotations

from functools import partial

from shared.db import Database
from shared.feed import Feed
from shared.store.claims import Claim
from shared.store.endings import cancel
from shared.store.sequence import lock_conversation
from shared.store.turns import find_turn
from worker.recorder import ended_in
from worker.tally import turn_ended


async def end_cancelled(claimed: Claim, *, db: Database, feed: Feed) -> None:
    """Somebody cancelled it and nobody works on it: its last text is in the feed."""
    conversation_id = claimed.turn.conversation_id
    live = await feed.live_text(conversation_id)
    async with db.transaction(claimed.owner) as tx:
        if not await lock_conversation(tx, conversation_id):
            return
        turn = await find_turn(tx, claimed.turn.id, owner=claimed.owner)
        if turn is None or turn.status != "running":
            return
        changes, _ = await cancel(tx, turn, live=live)
        tx.after_commit(partial(feed.changes, conversation_id, changes))
    if (ended := ended_in(changes, turn)) is not None:
        turn_ended(ended, claimed)
