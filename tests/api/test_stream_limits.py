"""How many event streams an owner may have open, counted over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx
import pytest

from api.counting import Counting, Stream
from shared.redis import Redis
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, begin, expect_problem, limited
from tests.fixtures.people import Person
from tests.fixtures.processes import StartOne
from tests.fixtures.sse import open_stream
from tests.fixtures.waiting import until

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

pytestmark = pytest.mark.anyio


async def test_two_apis_share_one_limit_and_the_streams(
    api_process: StartOne, alice: Person, redis: Redis
) -> None:
    limits = {"parley_limit_requests_per_minute": 30, "parley_limit_streams": 3}
    apis = await asyncio.gather(api_process(**limits), api_process(**limits))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=api.url, headers=alice.headers, timeout=20)
            )
            for api in apis
        ]
        conversation = await begin(clients[0])
        opened: list[AsyncGenerator[bytes]] = []
        for api in (apis[0], apis[1], apis[1]):
            stream = open_stream(api.url, conversation["id"], alice.headers)
            opened.append(await stack.enter_async_context(stream))
            await anext(opened[-1])
        path = f"{CONVERSATIONS}/{conversation['id']}/events"
        refused = await clients[0].get(path)
        expect_problem(refused, 429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        await apis[1].kill()
        # It can't say any more that it left; its streams end with their time.
        key = "parley:limit:streams:alice"
        assert await redis.zcard(key) == 3
        assert 0 < await redis.pttl(key) <= 30_000
        members = await redis.zrange(key, 0, -1)
        for member in members[1:]:
            await redis.zadd(key, {member: 1}, xx=True)
        stream = open_stream(apis[0].url, conversation["id"], alice.headers)
        opened.append(await stack.enter_async_context(stream))
        await anext(opened[-1])
        assert await redis.zcard(key) == 2
        # One after the other: at once they may keep a busy process from hearing what Redis counted.
        answers = [await clients[0].get(CONVERSATIONS) for _ in range(40)]
        assert sum(answer.status_code == 200 for answer in answers) == 30 - 6


async def test_a_stream_counts_until_it_ends_however_it_ends(
    settings: Settings, alice: Person, redis: Redis
) -> None:
    key = "parley:limit:streams:alice"

    async def nobody_streams() -> bool:
        return await redis.zcard(key) == 0

    async with limited(settings, alice, limit_streams=1, stream_lifetime_seconds=0.05) as client:
        conversation = await begin(client)
        for _ in range(3):
            answer = await client.get(f"{CONVERSATIONS}/{conversation['id']}/events")
            assert answer.status_code == 200
            assert "stream.closing" in answer.text
            await until(nobody_streams)
        missing = await client.get(f"{CONVERSATIONS}/{conversation['id']}/events?since=9")
        expect_problem(missing, 400, "cursor_ahead")
        await until(nobody_streams)


async def test_a_stream_that_is_renewed_outlives_its_entry_and_a_loss_of_redis(
    redis: Redis,
) -> None:
    counting = Counting(redis)
    stream = Stream("parley:limit:streams:alice", "one", 1)
    await counting.spend([], stream)
    await redis.zadd(stream.key, {"one": 1})
    await counting.renew()
    assert (await counting.spend([], Stream(stream.key, "two", 1))).too_many_streams
    await redis.delete(stream.key)
    await counting.renew()
    assert (await counting.spend([], Stream(stream.key, "two", 1))).too_many_streams
    await counting.leave(stream)
    await counting.renew()
    assert not (await counting.spend([], Stream(stream.key, "two", 1))).too_many_streams
