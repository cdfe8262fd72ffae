"""Workers and their leases: one row each, renewed by one statement."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.db import Transaction
from shared.models import Turn, Worker

FORGOTTEN_AFTER = timedelta(hours=1)


class Beat(msgspec.Struct, frozen=True):
    """What the rows say of a worker's turns, as (turn, attempt)."""

    held: set[tuple[UUID, int]]
    cancelled: set[tuple[UUID, int]]
    """Those of them that somebody asked to cancel."""


async def renew_lease(tx: Transaction, worker_id: UUID, *, lease: timedelta) -> Beat:
    """Extends the worker's lease, one row however many turns it holds."""
    until = func.clock_timestamp() + lease
    await tx.execute(
        insert(Worker)
        .values(id=worker_id, lease_until=until)
        .on_conflict_do_update(index_elements=[Worker.id], set_={"lease_until": until})
    )
    rows = await tx.all(
        select(Turn.id, Turn.attempt, Turn.cancel_requested_at).where(
            Turn.lease_owner == worker_id, Turn.status == "running"
        )
    )
    return Beat(
        held={(row.id, row.attempt) for row in rows},
        cancelled={(row.id, row.attempt) for row in rows if row.cancel_requested_at is not None},
    )


async def leave(tx: Transaction, worker_id: UUID) -> None:
    """Gives back whatever the worker holds, and with it the lease."""
    await tx.execute(
        update(Turn)
        .where(Turn.lease_owner == worker_id, Turn.status == "running")
        .values(lease_owner=None)
    )
    await tx.execute(delete(Worker).where(Worker.id == worker_id))


async def count_alive(tx: Transaction) -> int:
    count: int = await tx.scalar(
        select(func.count()).where(Worker.lease_until > func.clock_timestamp())
    )
    return count


async def forget_dead(tx: Transaction) -> None:
    await tx.execute(
        delete(Worker).where(Worker.lease_until < func.clock_timestamp() - FORGOTTEN_AFTER)
    )
