"""A conversation that is erased while somebody still asks for something of it."""

from __future__ import annotations

import asyncio

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from tests.api.talk import begin, expect_problem, path_of
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def test_there_is_no_ticket_for_a_conversation_that_is_being_erased(
    client: AsyncClient, db: Database
) -> None:
    conversation = await begin(client)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("DELETE FROM conversations"))
        asking = asyncio.create_task(client.post(f"{path_of(conversation)}/tickets"))
        await until(lambda: tx.scalar(WAITING))
    expect_problem(await asking, 404, "not_found")
    async with db.snapshot(EVERYONE) as tx:
        assert await tx.scalar(text("SELECT count(*) FROM stream_tickets")) == 0
