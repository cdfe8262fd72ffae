"""What the sweep asks: where a turn waits that nobody comes for."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    Integer,
    Interval,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from shared.db import Transaction
from shared.models import Turn, Worker
from shared.statement import Statement
from shared.store.claims import SUSPECT_CRASHES, due, taken
from shared.store.turns import ACTIVE, among

UNRUNG_AFTER = literal_column("interval '1 s'", type_=Interval)

# What waits or runs is little beside what has ended: it is read once, by its own index, and asked
# in memory, whatever Postgres believes of the table.
_active = (
    select(
        Turn.conversation_id,
        Turn.user_id,
        Turn.seq,
        Turn.status,
        Turn.position,
        Turn.created_at,
        Turn.queued_at,
        Turn.started_at,
        Turn.crashes,
        Turn.lease_owner,
        Turn.run_after,
        Turn.cancel_requested_at,
    )
    .where(among(Turn.status, ACTIVE))
    .cte("active")
    .prefix_with("MATERIALIZED")
)
_turn = _active.c
_taken = taken(_turn)
_busy = select(_turn.conversation_id).where(among(_turn.status, ("running", "awaiting_approval")))
_unrung = and_(
    _turn.status == "queued",
    _turn.position == 1,
    _turn.created_at < func.clock_timestamp() - UNRUNG_AFTER,
    _turn.conversation_id.not_in(_busy),
)
_alive = select(Worker.id).where(Worker.lease_until > func.clock_timestamp())
_unheld = and_(
    _turn.status == "running",
    or_(_turn.lease_owner.is_(None), _turn.lease_owner.not_in(_alive)),
)
_suspect = _turn.crashes >= SUSPECT_CRASHES
_running = (
    select(_turn.user_id, func.count().label("count"))
    .where(_taken)
    .group_by(_turn.user_id)
    .cte("running")
    .prefix_with("MATERIALIZED")
)
_running_of_owner = (
    select(_running.c.count).where(_running.c.user_id == _turn.user_id).scalar_subquery()
)
# A turn whose worker died is one of those that run; any other would be one more.
_order = func.row_number().over(
    partition_by=(_turn.user_id, _taken),
    order_by=(_suspect, _turn.status == "queued", _turn.created_at),
)
_place = _order + case((_taken, 0), else_=func.coalesce(_running_of_owner, 0))
_lease_until = select(Worker.lease_until).where(Worker.id == _turn.lease_owner).scalar_subquery()
_since = case(
    (_turn.status == "queued", _turn.queued_at),
    else_=func.coalesce(_turn.run_after, _lease_until, _turn.started_at),
)
_found = (
    select(
        _turn.conversation_id,
        _turn.seq,
        _turn.created_at,
        _since.label("since"),
        _suspect.label("suspect"),
        _place.label("place"),
        _taken.label("takeover"),
    )
    .where(or_(_unrung, and_(_unheld, due(_turn))))
    .subquery()
)
_limit = bindparam("running_limit", type_=Integer)
_may_run = or_(not_(_limit > 0), _found.c.takeover, _found.c.place <= _limit)
TO_RUN = Statement(
    select(_found.c.conversation_id)
    .where(_may_run)
    .order_by(_found.c.suspect, _found.c.place, _found.c.created_at)
    .limit(bindparam("limit", type_=Integer))
)


async def conversations_to_run(
    tx: Transaction, *, limit: int, running_limit: int = 0
) -> list[UUID]:
    """Where a turn waits that nobody rang for or that nobody holds.

    Owners take turns, the longest waiting of each first: who has the fewest running goes first,
    and who has `running_limit` of them waits, but for takeovers. Suspects come last: others must
    not wait for a place behind them.
    """
    found = await tx.all(TO_RUN, {"limit": limit, "running_limit": running_limit})
    return [row.conversation_id for row in found]


# Whoever waits behind a turn of the same conversation can run from when that has ended. Only those
# that seem to wait longest are looked at so closely: thousands may wait, and this is asked often.
LOOKED_AT = 100
_longest = (
    select(_found.c.conversation_id, _found.c.seq, _found.c.since)
    .where(_may_run)
    .order_by(_found.c.since)
    .limit(LOOKED_AT)
    .subquery()
)
_before = aliased(Turn)
_ended_before = (
    select(_before.finished_at)
    .where(_before.conversation_id == _longest.c.conversation_id, _before.seq < _longest.c.seq)
    .order_by(_before.seq.desc())
    .limit(1)
    .scalar_subquery()
)
LONGEST = Statement(
    select(
        func.extract(
            "epoch",
            func.max(func.clock_timestamp() - func.greatest(_longest.c.since, _ended_before)),
        )
    )
)


async def longest_wait(tx: Transaction, *, running_limit: int = 0) -> float:
    """Seconds for which a turn has waited that could run now, the longest of them; 0 where none has
    waited for more than a second. What waits for another turn, for its owner or for a pause to be
    over doesn't count.
    """
    found = await tx.scalar(LONGEST, {"running_limit": running_limit})
    return max(0.0, float(found or 0))
