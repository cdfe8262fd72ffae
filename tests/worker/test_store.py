"""The service functions that the documents name."""

from __future__ import annotations

import pytest

from shared.connection import EVERYONE
from shared.db import Database
from shared.store.conversations import get_or_create_conversation

pytestmark = pytest.mark.anyio


async def test_a_conversation_is_found_or_made_and_never_somebody_elses(db: Database) -> None:
    async with db.transaction(EVERYONE) as tx:
        made = await get_or_create_conversation(tx, owner="alice")
        assert made is not None
        found = await get_or_create_conversation(tx, owner="alice", conversation_id=made.id)
        assert found == made
        assert await get_or_create_conversation(tx, owner="bob", conversation_id=made.id) is None
