"""How the service as a whole is doing, for whoever looks after it: numbers, of nobody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, select

from shared.db import Transaction
from shared.ids import first_id_of
from shared.models import Turn, Worker
from shared.statement import Statement
from shared.store.turns import ACTIVE, among
from shared.store.waiting import longest_wait
from shared.store.workers import count_alive


class Fleet(msgspec.Struct, frozen=True):
    queued: int
    running: int
    awaiting_approval: int
    longest_wait_seconds: float
    """Of a turn that could run now (`waiting.longest_wait`)."""
    workers: int
    """Those whose lease holds."""


class WorkerState(msgspec.Struct, frozen=True):
    id: UUID
    turns: int
    """It runs so many."""
    lease_seconds: float
    """What is left of its lease; negative where it ran out."""


class Recent(msgspec.Struct, frozen=True):
    """Turns that were accepted lately, and what has become of them."""

    by_status: dict[str, int]
    interrupted: int
    """They took more than one attempt."""


_COUNTS = Statement(
    select(Turn.status, func.count().label("turns"))
    .where(among(Turn.status, ACTIVE))
    .group_by(Turn.status)
)
_holding = (
    select(Turn.lease_owner, func.count().label("turns"))
    .where(Turn.status == "running", Turn.lease_owner.is_not(None))
    .group_by(Turn.lease_owner)
    .subquery()
)
_WORKERS = Statement(
    select(
        Worker.id,
        func.coalesce(_holding.c.turns, 0).label("turns"),
        func.extract("epoch", Worker.lease_until - func.clock_timestamp()).label("left"),
    )
    .outerjoin(_holding, _holding.c.lease_owner == Worker.id)
    .order_by(Worker.id)
)
_RECENT = Statement(
    select(
        Turn.status,
        func.count().label("turns"),
        func.count().filter(Turn.attempt > 1).label("interrupted"),
    )
    .where(Turn.id >= bindparam("first"))
    .group_by(Turn.status)
)


async def fleet(tx: Transaction, *, running_limit: int = 0) -> Fleet:
    """`running_limit` is what one owner may have running: whoever waits for that isn't waiting for
    us.
    """
    counts = {row.status: row.turns for row in await tx.all(_COUNTS)}
    return Fleet(
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
        awaiting_approval=counts.get("awaiting_approval", 0),
        longest_wait_seconds=await longest_wait(tx, running_limit=running_limit),
        workers=await count_alive(tx),
    )


async def worker_states(tx: Transaction) -> list[WorkerState]:
    """Every worker that has said something within the last hour and has not said goodbye."""
    rows = await tx.all(_WORKERS)
    return [WorkerState(row.id, row.turns, float(row.left)) for row in rows]


async def recent_turns(tx: Transaction, *, within: timedelta) -> Recent:
    """By the time in their ids, which the API's clock put there: that needs no further index."""
    rows = await tx.all(_RECENT, {"first": first_id_of(datetime.now(UTC) - within)})
    return Recent(
        by_status={row.status: row.turns for row in rows},
        interrupted=sum(row.interrupted for row in rows),
    )
