"""A viewer that nobody can tell anything is sent to the rows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio.client import PubSub
from structlog.testing import capture_logs

from cli.embedded import Service as Server
from shared.connection import EVERYONE
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import MISSED, LiveText
from shared.redis import REDIS_ERRORS, connect_redis, end
from shared.settings import Settings
from shared.store.endings import end_early
from tests.fixtures.following import view
from tests.fixtures.turns import Desk
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
    await end(task)


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


async def test_whatever_the_client_of_redis_raises_the_feed_is_heard_again(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stumbles over connections that are closed under it, and not only with its own errors."""
    await until(lambda: feed.healthy)
    read: Any = PubSub.get_message
    stumbled: list[str] = []

    async def stumble(self: PubSub, *args: Any, **named: Any) -> Any:
        if not stumbled:
            stumbled.append("once")
            raise AttributeError("'NoneType' object has no attribute 'read_response'")
        return await read(self, *args, **named)

    conversation_id = new_id()
    with capture_logs() as lines:
        monkeypatch.setattr(PubSub, "get_message", stumble)
        async with feed.subscribe(conversation_id) as viewer:
            await until(lambda: stumbled and not feed.healthy)
            await until(lambda: feed.healthy)
            await viewer.wait(0)
            await feed.changes(conversation_id, [])
            assert await viewer.wait(5)
    lost = [line for line in lines if line["event"] == "feed_lost"]
    assert [line["error"] for line in lost] == ["AttributeError"]


async def test_a_viewer_whom_redis_can_not_tell_the_text_waits_for_it(
    desk: Desk, lonely_feed: Feed, own_valkey: Server
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "say hello")
    live = LiveText(turn.id, new_id(), 1, 0, "hello")
    await lonely_feed.delta(conversation_id, live, 0)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    async with aclosing(view(desk, lonely_feed, conversation_id)) as events:
        heard = [(await anext(events))[0] for _ in range(3)]
        assert heard == ["message.created", "turn.updated", "conversation.updated"]
        following = asyncio.create_task(anext(events))
        await until(lambda: [viewer.lacks_text for viewer in lonely_feed.viewers] == [True])
        os.kill(own_valkey.pid, signal.SIGCONT)

        async def told() -> bool:
            for viewer in lonely_feed.viewers:
                viewer.put(MISSED)  # as the lookout does
            return following.done()

        await until(told)
        assert (await following)[0] == "message.delta"


async def test_text_of_an_attempt_that_ended_is_not_told_while_its_turn_waits_once_more(
    desk: Desk, feed: Feed
) -> None:
    """Its end was not told, so that Redis has the text still; the rows show no trace of the end."""
    conversation_id = await desk.conversation()
    worker = await desk.worker()
    turn = await desk.say(conversation_id, "call list_tasks {}\nthen stall Half")
    running = asyncio.create_task(worker.run_head(conversation_id))
    found: list[LiveText] = []

    async def half() -> bool:
        live = await feed.live_text(conversation_id)
        found.extend([live] if live is not None and live.text.endswith("Half") else [])
        return bool(found)

    await until(half)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    async with desk.db.transaction(EVERYONE) as tx:
        await end_early(tx, await desk.turn(turn.id), "failed")
    await desk.retry(turn.id)
    await feed.delta(conversation_id, found[0], 0)
    async with aclosing(view(desk, feed, conversation_id)) as events:
        heard = [(await anext(events))[0] for _ in range(5)]
        assert heard == [
            *("message.created", "conversation.updated"),
            *("message.created", "message.created", "turn.updated"),
        ]
        following = asyncio.create_task(anext(events))
        await desk.say(conversation_id, "say more")
        await feed.changes(conversation_id, [])
        for viewer in feed.viewers:
            viewer.put(MISSED)
        assert (await following)[0] == "message.created"
