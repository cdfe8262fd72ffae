"""Conversations that were deleted long ago are deleted for good, a bounded number at a time."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.redis import REDIS_ERRORS
from shared.settings import Settings
from shared.store.erasure import delete_some, next_to_purge

log = structlog.get_logger()

STEPS = 200
"""Transactions in a round: the rest waits for the next."""


async def purge(db: Database, feed: Feed, settings: Settings) -> None:
    """One conversation after the other, each step a transaction of its own that waits for nobody;
    a step that is lost on the way is taken again in the next round. A conversation that can't be
    deleted is passed over for the rest of the round, at most as many as there are steps.
    """
    retention = timedelta(days=settings.parley_retention_days)
    failed: set[UUID] = set()
    purged = 0
    for _ in range(STEPS):
        conversation_id: UUID | None = None
        try:
            async with db.transaction(EVERYONE) as tx:
                conversation_id = await next_to_purge(tx, retention=retention, but=failed)
                if conversation_id is None:
                    break
                _, whole = await delete_some(tx, conversation_id, keep_keys=True)
        except Exception as error:
            if conversation_id is None:
                raise
            failed.add(conversation_id)
            log.warning(
                "conversation_not_purged",
                conversation_id=str(conversation_id),
                error=type(error).__name__,
            )
            continue
        if whole:
            purged += 1
            await forget_text(feed, conversation_id)
    if purged:
        log.info("conversations_purged", count=purged)


async def forget_text(feed: Feed, conversation_id: UUID) -> None:
    try:
        await feed.forget_text(conversation_id)
    except REDIS_ERRORS as error:
        # It expires by itself.
        log.warning("purge_failed_in_redis", error=type(error).__name__)
