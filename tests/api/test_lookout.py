"""Viewers who are told nothing, because nothing is told, are sent to the rows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import event
from sse_starlette.sse import AppStatus

from api.lookout import Lookout
from api.standing import Standing
from shared.access import Access
from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import MISSED
from shared.redis import Redis
from shared.settings import Settings
from shared.store.browser_sessions import open_session
from shared.store.sessions import session_table
from tests.api.talk import begin, path_of, say
from tests.fixtures.sessions import TABLE, Sessions

pytestmark = pytest.mark.anyio


@pytest.fixture
def deaf(redis: Redis) -> Feed:
    """A feed that hears nothing."""
    return Feed(redis)


@pytest.fixture
def lookout(db: Database, deaf: Feed) -> Lookout:
    return Lookout(db, deaf, Standing(db, None))


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


@pytest.fixture
def statements(db: Database) -> list[str]:
    """What is asked of Postgres from now on."""
    found: list[str] = []

    def note(*given: Any) -> None:
        found.append(given[2])

    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    return found


@pytest.fixture
def watchful(db: Database, deaf: Feed, settings: Settings) -> Lookout:
    """It knows where the sessions of another application are."""
    table = session_table(settings.model_copy(update={"parley_sessions_table": TABLE}))
    return Lookout(db, deaf, Standing(db, table))


async def test_the_access_of_all_viewers_is_one_question_for_each_table(
    watchful: Lookout, deaf: Feed, db: Database, sessions: Sessions, statements: list[str]
) -> None:
    await sessions.add("token", session="good")
    async with db.transaction(EVERYONE) as tx:
        later = datetime.now(UTC) + timedelta(hours=1)
        await open_session(tx, b"good", owner="alice", session_id=None, expires_at=later)
        await open_session(
            tx, b"over", owner="alice", session_id=None, expires_at=datetime.now(UTC)
        )
    given = {
        Access(): False,
        Access(session_id="good"): False,
        Access(session_id="gone"): True,
        Access(browser_session=b"good"): False,
        Access(browser_session=b"over"): True,
        Access(browser_session=b"gone"): True,
        Access("good", b"good"): False,
        Access("good", b"gone"): True,
        Access("gone", b"good"): True,
    }
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(deaf.subscribe(new_id())) for _ in given]
        for viewer, access in zip(viewers, given, strict=True):
            viewer.access = access
        statements.clear()
        await watchful.check_access()
        assert len(statements) == 2
        assert [viewer.unauthorized for viewer in viewers] == list(given.values())
        assert [await viewer.wait(0) == [MISSED] for viewer in viewers] == list(given.values())


async def test_viewers_with_signed_tokens_are_no_question(
    watchful: Lookout, deaf: Feed, statements: list[str]
) -> None:
    async with deaf.subscribe(new_id()):
        await watchful.check_access()
    assert statements == []


async def test_a_table_that_cannot_be_read_does_not_blind_the_lookout(
    client: AsyncClient, watchful: Lookout, deaf: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.lookout.LOOK_SECONDS_WITHOUT_FEED", 0.01)
    monkeypatch.setattr("api.lookout.ACCESS_SECONDS", 0)
    conversation = await begin(client)
    looking = asyncio.create_task(watchful.run())
    async with deaf.subscribe(UUID(conversation["id"])) as viewer:
        viewer.access, viewer.seen = Access(session_id="s"), 0
        await viewer.wait(0.05)
        await say(client, conversation, "hello")
        assert await viewer.wait(5) == [MISSED]
        assert not viewer.unauthorized
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
