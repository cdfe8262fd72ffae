"""Whether what people came with still holds, asked for one or for all viewers at once.

Nothing is kept in mind: who logs out is out with the next request.
"""

from __future__ import annotations

from collections.abc import Collection

from shared.access import Access
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.store.browser_sessions import standing
from shared.store.sessions import Session, SessionTable, UnfitIdError


class Standing:
    def __init__(self, db: Database, table: SessionTable | None) -> None:
        self._db = db
        self._table = table

    async def session(self, token: str) -> Session | None:
        """The session of the other application that has this token."""
        if self._table is None:
            return None
        async with self._db.snapshot(LOGIN) as tx:
            return await self._table.find(tx, token)

    async def lost(self, given: Collection[Access]) -> set[Access]:
        """Those of which a session is gone. As a rule two queries, however many are given."""
        hashes = {one.browser_session for one in given if one.browser_session is not None}
        ids = {one.session_id for one in given if one.session_id is not None}
        ours, theirs = await self._ours(hashes), await self._theirs(ids)
        return {
            one
            for one in given
            if (one.browser_session is not None and one.browser_session not in ours)
            or (one.session_id is not None and one.session_id not in theirs)
        }

    async def _ours(self, hashes: set[bytes]) -> set[bytes]:
        if not hashes:
            return set()
        async with self._db.snapshot(EVERYONE) as tx:
            return await standing(tx, hashes)

    async def _theirs(self, ids: set[str]) -> set[str]:
        """None, once their table isn't read any more. An id that its column can't hold, since its
        type was changed, is none either: the others are found by halves.
        """
        if not ids or self._table is None:
            return set()
        try:
            async with self._db.snapshot(LOGIN) as tx:
                return await self._table.standing(tx, ids)
        except UnfitIdError:
            if len(ids) == 1:
                return set()
        all_ids = sorted(ids)
        half = len(all_ids) // 2
        first, second = set(all_ids[:half]), set(all_ids[half:])
        return await self._theirs(first) | await self._theirs(second)
