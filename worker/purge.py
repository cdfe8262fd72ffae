"""Conversations that were deleted long ago are deleted for good, a bounded number at a time."""

from __future__ import annotations

from datetime import timedelta

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
    a step that is lost on the way is taken again in the next round.
    """
    retention = timedelta(days=settings.parley_retention_days)
    purged = 0
    for _ in range(STEPS):
        async with db.transaction(EVERYONE) as tx:
            conversation_id = await next_to_purge(tx, retention=retention)
            if conversation_id is None:
                break
            _, whole = await delete_some(tx, conversation_id, keep_keys=True)
        if whole:
            purged += 1
            try:
                await feed.forget_text(conversation_id)
            except REDIS_ERRORS as error:
                # Its text expires by itself.
                log.warning("purge_failed_in_redis", error=type(error).__name__)
    if purged:
        log.info("conversations_purged", count=purged)
