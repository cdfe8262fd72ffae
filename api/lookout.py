"""Looks for what viewers were not told: one query for all of them, however many there are.

Redis may lose what is told, or be away without a word. Whoever is behind the rows is sent to them.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from sse_starlette.sse import AppStatus

from shared.db import Database
from shared.errors import Unavailable
from shared.feed import Feed
from shared.publisher import MISSED
from shared.store.conversations import last_seqs

log = structlog.get_logger()

LOOK_SECONDS = 1.0
LOOK_SECONDS_WITHOUT_FEED = 0.25


class Lookout:
    def __init__(self, db: Database, feed: Feed) -> None:
        self._db = db
        self._feed = feed

    async def run(self) -> None:
        """Until cancelled. While Postgres is away there is nothing to see."""
        while True:
            healthy = self._feed.healthy
            await asyncio.sleep(LOOK_SECONDS if healthy else LOOK_SECONDS_WITHOUT_FEED)
            try:
                await self.look()
            except Unavailable:
                continue
            except Exception as error:
                log.warning("lookout_failed", error=type(error).__name__)

    async def look(self) -> None:
        """Sends viewers to the rows who are behind, or whose conversation is gone, and those who
        lack the text in flight once Redis can tell it.

        When the server stops it sends all, so that nobody waits for the rest of their time.
        """
        viewers = self._feed.viewers
        if not viewers:
            return
        last: dict[UUID, int] = {}
        if not AppStatus.should_exit:
            async with self._db.snapshot() as tx:
                last = await last_seqs(tx, {viewer.about for viewer in viewers})
        for viewer in viewers:
            behind = viewer.about not in last or last[viewer.about] > viewer.seen
            if behind or (viewer.lacks_text and self._feed.healthy):
                viewer.put(MISSED)
