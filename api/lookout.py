"""Looks for what viewers were not told: one query for all of them, however many there are.

Redis may lose what is told, or be away without a word. Whoever is behind the rows is sent to them.
More seldom it looks whether the sessions the viewers came with are still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import structlog
from sse_starlette.sse import AppStatus

from api.standing import Standing
from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import Unavailable
from shared.feed import Feed, Subscription
from shared.publisher import MISSED
from shared.store.conversations import last_seqs

log = structlog.get_logger()

LOOK_SECONDS = 0.8
TELLING_SECONDS = 0.2
"""What was committed a moment ago may still be on its way through the feed."""
LOOK_SECONDS_WITHOUT_FEED = 0.25
ACCESS_SECONDS = 5.0
"""A viewer whose session was ended is told so within this and one look."""


class Lookout:
    def __init__(self, db: Database, feed: Feed, standing: Standing) -> None:
        self._db = db
        self._feed = feed
        self._standing = standing

    async def run(self) -> None:
        """Until cancelled. While Postgres is away there is nothing to see."""
        clock = asyncio.get_running_loop().time
        checked = clock()
        while True:
            healthy = self._feed.healthy
            await asyncio.sleep(LOOK_SECONDS if healthy else LOOK_SECONDS_WITHOUT_FEED)
            await self._safely(self.look)
            if clock() - checked >= ACCESS_SECONDS:
                checked = clock()
                await self._safely(self.check_access)

    async def _safely(self, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except Unavailable:
            return
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
            async with self._db.snapshot(EVERYONE) as tx:
                last = await last_seqs(tx, {viewer.about for viewer in viewers})
            if self._feed.healthy and any(_is_behind(viewer, last) for viewer in viewers):
                await asyncio.sleep(TELLING_SECONDS)
        for viewer in viewers:
            if _is_behind(viewer, last) or (viewer.lacks_text and self._feed.healthy):
                viewer.put(MISSED)

    async def check_access(self) -> None:
        """Tells viewers whose session is gone."""
        viewers = self._feed.viewers
        lost = await self._standing.lost({viewer.access for viewer in viewers})
        for viewer in viewers:
            if viewer.access in lost:
                viewer.unauthorized = True
                viewer.put(MISSED)


def _is_behind(viewer: Subscription, last: Mapping[UUID, int]) -> bool:
    return viewer.about not in last or last[viewer.about] > viewer.seen
