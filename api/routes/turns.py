"""Turns: one user message and all the work until its answer or failure."""

from __future__ import annotations

from litestar import Router, get

from api.deps import Db, Owned, TurnId
from api.openapi import described, problems
from api.samples import TURN
from shared.errors import InvalidRequest, NotFound
from shared.events import Turn
from shared.store.turns import find_turn


@get(
    "/{turn_id:uuid}",
    summary="Show a turn",
    description="`status` ends as completed, failed or cancelled; `error` tells why it failed.",
    responses=described({200: ("The turn.", Turn, TURN)}) | problems(InvalidRequest, NotFound),
)
async def show(turn_id: TurnId, principal: Owned, db: Db) -> Turn:
    async with db.snapshot() as tx:
        found = await find_turn(tx, turn_id, owner=principal.owner)
    if found is None:
        raise NotFound
    return found


router = Router("/api/chat/turns", route_handlers=[show], tags=["turns"])
