"""What is told once a change is committed. Nobody waits for it: the rows are written, and whoever
isn't told now finds them there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from shared.events import Change, TurnUpdated
from shared.jobs import Jobs
from shared.metrics import ENDED
from shared.publisher import Publisher
from shared.redis import REDIS_ERRORS

log = structlog.get_logger()

TELL_SECONDS = 0.5

_telling: set[asyncio.Task[None]] = set()


async def tell(
    feed: Publisher,
    conversation_id: UUID,
    changes: Sequence[Change],
    jobs: Jobs | None = None,
    *,
    holder: UUID | None = None,
    owner: str = "",
) -> None:
    """Begins to publish, to ring, and to nudge the worker that holds a turn."""
    for change in changes:
        if isinstance(change, TurnUpdated) and change.turn.status == "cancelled":
            ENDED.labels("cancelled").inc()
    work = _tell(feed, conversation_id, changes, jobs, holder=holder, owner=owner)
    task = asyncio.create_task(work)
    _telling.add(task)
    task.add_done_callback(_telling.discard)


async def settled() -> None:
    """Until all that was begun is told, or can't be: within half a second."""
    await asyncio.gather(*_telling)


async def _tell(
    feed: Publisher,
    conversation_id: UUID,
    changes: Sequence[Change],
    jobs: Jobs | None,
    *,
    holder: UUID | None,
    owner: str,
) -> None:
    ring = jobs.to_ring(conversation_id, owner) if jobs is not None else None
    with suppress(TimeoutError):
        async with asyncio.timeout(TELL_SECONDS):
            try:
                if changes or ring is not None:
                    await feed.changes(conversation_id, changes, then=ring)
                if holder is not None:
                    await feed.nudge(holder)
            except REDIS_ERRORS as error:
                log.warning("publish_failed", error=type(error).__name__)
