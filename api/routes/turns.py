"""Turns: one user message and all the work until its answer or failure."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post

from api import actions
from api.approvals import decide_call
from api.deps import Configured, Db, Live, Owned, Ring, TurnId
from api.limits import IS_MESSAGE
from api.openapi import body, described, problems
from api.samples import AWAITING_TURN, NEW_DECISION, TURN
from api.wire import NewDecision
from shared.db import Database
from shared.errors import (
    AlreadyDecided,
    BodyTooLarge,
    InvalidRequest,
    NotAwaitingApproval,
    NotFound,
    QueueFull,
    TurnNotRetryable,
    UnsupportedMediaType,
)
from shared.events import Turn
from shared.store.turns import find_turn


@get(
    "/{turn_id:uuid}",
    summary="Show a turn",
    description="`status` ends as completed, failed or cancelled; `error` tells why it failed. "
    "While it is `awaiting_approval` nothing happens until its owner decides.",
    responses=described({200: ("The turn.", Turn, TURN)}) | problems(InvalidRequest, NotFound),
)
async def show(turn_id: TurnId, principal: Owned, db: Db) -> Turn:
    return await _found(db, turn_id, owner=principal.owner)


@post(
    "/{turn_id:uuid}/cancel",
    status_code=202,
    summary="Cancel a turn",
    description="From 202 on the turn can only end as cancelled: at once if it waited, or as soon "
    "as its worker has stopped the model and the tools. Text that was streamed is kept and marked "
    "`cancelled`. A turn that had ended stays as it is: 200.",
    responses=described(
        {
            202: ("It is cancelled, or is going to be.", Turn, TURN),
            200: ("It had ended before.", Turn, TURN),
        }
    )
    | problems(InvalidRequest, NotFound),
)
async def cancel(
    turn_id: TurnId, principal: Owned, db: Db, feed: Live, jobs: Ring
) -> Response[Turn]:
    found = await _found(db, turn_id, owner=principal.owner)
    # Asked for before the transaction: no lock is held while Redis thinks.
    live = await feed.live_text(found.conversation_id) if found.status == "running" else None
    async with db.transaction(principal.owner) as tx:
        cancelled = await actions.cancel_turn(
            tx, jobs=jobs, feed=feed, turn_id=turn_id, owner=principal.owner, live=live
        )
    if cancelled is None:
        raise NotFound
    turn, accepted = cancelled
    return Response(turn, status_code=202 if accepted else 200)


@post(
    "/{turn_id:uuid}/retry",
    status_code=202,
    opt={IS_MESSAGE: True},
    summary="Retry a turn",
    description="A failed or cancelled turn that is the conversation's last waits once more and "
    "goes on after its last finished step: tool calls that have a result don't run again.",
    responses=described({202: ("It waits to run again.", Turn, TURN)})
    | problems(InvalidRequest, NotFound, TurnNotRetryable, QueueFull),
)
async def retry(
    turn_id: TurnId, principal: Owned, db: Db, feed: Live, jobs: Ring, settings: Configured
) -> Turn:
    async with db.transaction(principal.owner) as tx:
        turn = await actions.retry_turn(
            tx,
            jobs=jobs,
            feed=feed,
            turn_id=turn_id,
            owner=principal.owner,
            queue_limit=settings.parley_limit_queued_turns,
        )
    if turn is None:
        raise NotFound
    return turn


@post(
    "/{turn_id:uuid}/approvals",
    status_code=202,
    summary="Approve or deny a tool call",
    description="Of a turn that is `awaiting_approval`: the calls that wait are its tool messages "
    "of the same status. Once all of them are decided the turn goes on: approved calls run, and "
    "of denied ones the model reads that, with the `reason`. A decision is made once; the same "
    "again is 200 and changes nothing.",
    responses=described(
        {
            202: ("It is decided.", Turn, AWAITING_TURN),
            200: ("It was decided so before.", Turn, TURN),
        }
    )
    | problems(
        *(InvalidRequest, NotFound, BodyTooLarge, UnsupportedMediaType),
        *(NotAwaitingApproval, AlreadyDecided),
    ),
)
async def decide(
    turn_id: TurnId,
    principal: Owned,
    db: Db,
    feed: Live,
    jobs: Ring,
    data: Annotated[NewDecision, body("The decision on one call.", NEW_DECISION)],
) -> Response[Turn]:
    async with db.transaction(principal.owner) as tx:
        decided = await decide_call(
            tx, jobs=jobs, feed=feed, turn_id=turn_id, owner=principal.owner, said=data
        )
    if decided is None:
        raise NotFound
    turn, now = decided
    return Response(turn, status_code=202 if now else 200)


async def _found(db: Database, turn_id: UUID, *, owner: str) -> Turn:
    async with db.snapshot(owner) as tx:
        found = await find_turn(tx, turn_id, owner=owner)
    if found is None:
        raise NotFound
    return found


router = Router("/api/chat/turns", route_handlers=[show, cancel, retry, decide], tags=["turns"])
