"""The to-do list that the agent works on."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from api.cursors import parse_task_cursor, task_cursor
from api.deps import Db, Owned
from api.openapi import described, problems
from api.samples import TASK
from api.wire import Tasks
from shared.errors import InvalidCursor, InvalidRequest
from shared.store.tasks import list_tasks

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]
After = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the page before; opaque.")
]


@get(
    "/",
    summary="List the tasks",
    description="The newest comes first. `next_cursor` is null on the last page.",
    responses=described({200: ("A page of them.", Tasks, Tasks([TASK], None))})
    | problems(InvalidRequest, InvalidCursor),
)
async def listing(
    principal: Owned, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: After = None
) -> Tasks:
    after = parse_task_cursor(cursor) if cursor is not None else None
    async with db.snapshot(principal.owner) as tx:
        found = await list_tasks(tx, owner=principal.owner, limit=limit, after=after)
    page = found[:limit]
    return Tasks(page, task_cursor(page[-1]) if len(found) > limit else None)


router = Router("/api/tasks", route_handlers=[listing], tags=["tasks"])
