"""What the sweep asks: where a turn waits that nobody comes for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.models import Turn as Row_
from shared.store.claims import SUSPECT_CRASHES, due, taken, unheld

UNRUNG_AFTER = timedelta(seconds=1)


async def conversations_to_run(
    tx: Transaction, *, limit: int, running_limit: int = 0
) -> list[UUID]:
    """Where a turn waits that nobody rang for or that nobody holds.

    Owners take turns, the longest waiting of each first: who has the fewest running goes first,
    and who has `running_limit` of them waits, but for takeovers. Suspects come last: others must
    not wait for a place behind them.
    """
    other = aliased(Row_)
    busy = (
        select(other.id)
        .where(
            other.conversation_id == Row_.conversation_id,
            other.status.in_(("running", "awaiting_approval")),
        )
        .exists()
    )
    unrung = and_(
        Row_.status == "queued",
        Row_.position == 1,
        Row_.created_at < func.clock_timestamp() - UNRUNG_AFTER,
        ~busy,
    )
    suspect = Row_.crashes >= SUSPECT_CRASHES
    # A turn whose worker died is one of those that run; any other would be one more.
    order = func.row_number().over(
        partition_by=(Row_.user_id, taken()),
        order_by=(suspect, Row_.status == "queued", Row_.created_at),
    )
    running = (
        select(Row_.user_id, func.count().label("count"))
        .where(taken())
        .group_by(Row_.user_id)
        .subquery()
    )
    place = order + case((taken(), 0), else_=func.coalesce(running.c.count, 0))
    found = (
        select(
            Row_.conversation_id,
            Row_.created_at,
            suspect.label("suspect"),
            place.label("place"),
            taken().label("takeover"),
        )
        .outerjoin(running, running.c.user_id == Row_.user_id)
        .where(Row_.status.in_(("queued", "running")), or_(unrung, and_(unheld(), due())))
        .subquery()
    )
    query = select(found.c.conversation_id).order_by(
        found.c.suspect, found.c.place, found.c.created_at
    )
    if running_limit:
        query = query.where(or_(found.c.takeover, found.c.place <= running_limit))
    return [row.conversation_id for row in await tx.all(query.limit(limit))]
