"""Viewers who are told nothing, because nothing is told, are sent to the rows."""

from __future__ import annotations

from uuid import UUID

import pytest
from httpx import AsyncClient
from sse_starlette.sse import AppStatus

from api.lookout import Lookout
from shared.db import Database
from shared.feed import Feed
from shared.publisher import MISSED
from shared.redis import Redis
from tests.api.talk import begin, path_of, say

pytestmark = pytest.mark.anyio


@pytest.fixture
def deaf(redis: Redis) -> Feed:
    """A feed that hears nothing."""
    return Feed(redis)


@pytest.fixture
def lookout(db: Database, deaf: Feed) -> Lookout:
    return Lookout(db, deaf)


async def test_only_who_is_behind_is_sent_to_the_rows(
    client: AsyncClient, lookout: Lookout, deaf: Feed
) -> None:
    conversation = await begin(client)
    about = UUID(conversation["id"])
    async with deaf.subscribe(about) as viewer, deaf.subscribe(about) as other:
        viewer.seen = other.seen = 0
        await lookout.look()
        assert await viewer.wait(0) == []
        await say(client, conversation, "hello")
        other.seen = 3
        await lookout.look()
        assert await viewer.wait(1) == [MISSED]
        assert await other.wait(0) == []


async def test_who_lacks_the_text_in_flight_is_sent_for_it_once_redis_is_there(
    client: AsyncClient, lookout: Lookout, deaf: Feed
) -> None:
    conversation = await begin(client)
    async with deaf.subscribe(UUID(conversation["id"])) as viewer:
        viewer.seen, viewer.lacks_text = 0, True
        await lookout.look()
        assert await viewer.wait(0) == []
        deaf.healthy = True
        await lookout.look()
        assert await viewer.wait(1) == [MISSED]


async def test_who_does_not_look_is_sent_once(
    client: AsyncClient, lookout: Lookout, deaf: Feed
) -> None:
    conversation = await begin(client)
    async with deaf.subscribe(UUID(conversation["id"])) as viewer:
        for _ in range(3):
            await lookout.look()
        assert await viewer.wait(1) == [MISSED]


async def test_viewers_of_a_conversation_that_is_gone_are_sent_to_see_that(
    client: AsyncClient, lookout: Lookout, deaf: Feed
) -> None:
    conversation = await begin(client)
    async with deaf.subscribe(UUID(conversation["id"])) as viewer:
        viewer.seen = 1_000_000
        await client.delete(path_of(conversation))
        await lookout.look()
        assert await viewer.wait(1) == [MISSED]


async def test_when_the_server_stops_nobody_waits_on(
    client: AsyncClient, lookout: Lookout, deaf: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await begin(client)
    async with deaf.subscribe(UUID(conversation["id"])) as viewer:
        viewer.seen = 1_000_000
        monkeypatch.setattr(AppStatus, "should_exit", True)
        await lookout.look()
        assert await viewer.wait(1) == [MISSED]
