"""To-do tasks: the agent's domain. Each owner sees only their own."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, update

from shared.db import Transaction
from shared.events import Task
from shared.ids import new_id
from shared.models import Task as Row_

_COLUMNS = (
    Row_.id,
    Row_.title,
    Row_.description,
    Row_.status,
    Row_.created_at,
    Row_.updated_at,
    Row_.completed_at,
)


def _task(row: Row[Any] | None) -> Task | None:
    return Task(*row) if row else None


async def create_task(tx: Transaction, *, owner: str, title: str, description: str = "") -> Task:
    task = _task(
        await tx.first(
            insert(Row_)
            .values(id=new_id(), user_id=owner, title=title, description=description)
            .returning(*_COLUMNS)
        )
    )
    assert task is not None
    return task


async def list_tasks(
    tx: Transaction,
    *,
    owner: str,
    limit: int,
    status: Literal["open", "completed"] | None = None,
    after: UUID | None = None,
) -> list[Task]:
    """Newest first, from just behind the id `after`; one more than `limit` if there is."""
    query = select(*_COLUMNS).where(Row_.user_id == owner).order_by(Row_.id.desc())
    if status is not None:
        query = query.where(Row_.status == status)
    if after is not None:
        query = query.where(Row_.id < after)
    return [Task(*row) for row in await tx.all(query.limit(limit + 1))]


async def update_task(
    tx: Transaction,
    task_id: UUID,
    *,
    owner: str,
    title: str | None = None,
    description: str | None = None,
) -> Task | None:
    """Changes what is given; None if the owner has no such task."""
    values = {"title": title, "description": description}
    return await _update(tx, task_id, owner, {k: v for k, v in values.items() if v is not None})


async def complete_task(tx: Transaction, task_id: UUID, *, owner: str) -> Task | None:
    """A task that was completed before keeps its time."""
    when = func.coalesce(Row_.completed_at, func.now())
    return await _update(tx, task_id, owner, {"status": "completed", "completed_at": when})


async def _update(
    tx: Transaction, task_id: UUID, owner: str, values: dict[str, Any]
) -> Task | None:
    return _task(
        await tx.first(
            update(Row_)
            .where(Row_.id == task_id, Row_.user_id == owner)
            .values(values | {"updated_at": func.now()})
            .returning(*_COLUMNS)
        )
    )


async def delete_task(tx: Transaction, task_id: UUID, *, owner: str) -> Task | None:
    return _task(
        await tx.first(
            delete(Row_).where(Row_.id == task_id, Row_.user_id == owner).returning(*_COLUMNS)
        )
    )
