"""A viewer that nobody can tell anything is sent to the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from pydantic import SecretStr

from cli.embedded import Service as Server
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import MISSED
from shared.redis import REDIS_ERRORS, connect_redis
from shared.settings import Settings
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lonely_feed(settings: Settings, own_valkey: Server) -> AsyncIterator[Feed]:
    """Of a Redis that may be killed."""
    redis = connect_redis(
        settings.model_copy(update={"redis_url": SecretStr(own_valkey.url)}),
    )
    async with listening(Feed(redis)) as feed:
        yield feed
    await redis.aclose(close_connection_pool=True)


@asynccontextmanager
async def listening(feed: Feed) -> AsyncGenerator[Feed]:
    task = asyncio.create_task(feed.listen())
    await until(lambda: feed.healthy)
    yield feed
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_redis_does_not_take_our_own_viewers_hear_of(
    lonely_feed: Feed, own_valkey: Server
) -> None:
    conversation_id = new_id()
    async with lonely_feed.subscribe(conversation_id) as viewer:
        own_valkey.kill()
        await until(lambda: not lonely_feed.healthy)
        with pytest.raises(REDIS_ERRORS):
            await lonely_feed.changes(conversation_id, [])
        assert await viewer.wait(1) == [MISSED]
