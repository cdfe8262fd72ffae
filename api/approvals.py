"""The owner's word on tool calls that ask for it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from api.actions import locked_turn
from api.telling import tell
from api.wire import NewDecision
from shared.db import Transaction
from shared.errors import AlreadyDecided, NotAwaitingApproval
from shared.events import Turn
from shared.jobs import Jobs
from shared.publisher import Publisher
from shared.store import approvals, turns


async def decide_call(
    tx: Transaction,
    *,
    jobs: Jobs,
    feed: Publisher,
    turn_id: UUID,
    owner: str,
    said: NewDecision,
) -> tuple[Turn, bool] | None:
    """(the turn, whether this decided it); None if the owner has no such turn or call.

    Saying the same again changes nothing. Raises AlreadyDecided, NotAwaitingApproval.
    """
    turn = await locked_turn(tx, turn_id, owner=owner)
    call = turn and await approvals.find_call(tx, turn, said.tool_call_id)
    if turn is None or call is None:
        return None
    before = await approvals.decision_on(tx, call)
    if before is not None:
        if before != said.decision:
            raise AlreadyDecided
        return turn, False
    if turn.status != "awaiting_approval" or call.status != "awaiting_approval":
        raise NotAwaitingApproval
    changes = await approvals.decide(
        tx, turn, call, owner=owner, decision=said.decision, reason=said.reason
    )
    tx.after_commit(partial(tell, feed, turn.conversation_id, changes, jobs, owner=owner))
    return await turns.find_turn(tx, turn_id, owner=owner) or turn, True
