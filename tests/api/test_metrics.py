"""What Prometheus is told: in its own format, to anybody, of nobody."""

from __future__ import annotations

import math

import pytest
from httpx import AsyncClient

from api.app import create_app
from shared.jobs import Jobs
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, begin, say
from tests.fixtures.http import speaking
from tests.fixtures.metrics import Metrics
from tests.fixtures.people import Person
from tests.fixtures.processes import StartOne
from tests.fixtures.sse import open_stream
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def look(client: AsyncClient) -> Metrics:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return Metrics(answer.text)


async def test_it_needs_no_token_and_is_prometheus_own_format(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = Metrics(answer.text)
    assert found("parley_store_up", store="postgres") == 1
    assert found("parley_store_up", store="redis") == 1
    assert found("parley_database_pool_size") > 0


async def test_the_service_as_a_whole(client: AsyncClient, desk: Desk, jobs: Jobs) -> None:
    conversation = await begin(client)
    await say(client, conversation, "one")
    await say(client, conversation, "two")
    await desk.worker()

    async def told() -> bool:
        found = await look(client)
        return (
            found("parley_turns", status="queued") == 2
            and found("parley_workers") == 1
            and found("parley_queue_jobs") >= 1
        )

    await until(told)


async def test_what_is_not_known_is_not_told(alone: Settings, alice: Person) -> None:
    """Neither Postgres nor Redis is there."""
    async with speaking(create_app(alone), alice) as client:
        found = await look(client)
    assert found("parley_store_up", store="postgres") == 0
    assert found("parley_store_up", store="redis") == 0
    for name in ("parley_oldest_waiting_turn_seconds", "parley_workers", "parley_queue_jobs"):
        assert math.isnan(found(name)), name


async def test_limits_are_told_by_name(settings: Settings, alice: Person) -> None:
    limits = {
        "parley_limit_messages_per_minute": 3,
        "parley_limit_queued_turns": 1,
        "parley_limit_address_requests_per_minute": 8,
    }
    before = Metrics()
    async with speaking(create_app(settings.model_copy(update=limits)), alice) as client:
        conversation = await begin(client)
        path = f"{CONVERSATIONS}/{conversation['id']}/messages"
        for _ in range(4):
            await client.post(path, json={"content": "hello"})
        for _ in range(6):
            await client.get(path)
        after = await look(client)
    grown = {
        limit: after("parley_limits_hit_total", limit=limit)
        - before("parley_limits_hit_total", limit=limit)
        for limit in ("messages", "queued_turns", "address", "streams")
    }
    assert grown == {"messages": 1, "queued_turns": 2, "address": 2, "streams": 0}


async def test_a_turn_cancelled_while_it_waits_has_ended(client: AsyncClient) -> None:
    before = Metrics()
    said = await say(client, await begin(client), "never mind")
    await client.post(f"/api/chat/turns/{said['turn']['id']}/cancel")
    name, status = "parley_turns_ended_total", "cancelled"
    assert (await look(client))(name, status=status) == before(name, status=status) + 1


async def test_streams_requests_and_the_way_to_the_rows(
    api_process: StartOne, alice: Person
) -> None:
    api = await api_process()
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        conversation = await begin(client)
        async with open_stream(api.url, conversation["id"], alice.headers) as stream:
            await anext(stream)
            found = await look(client)
            assert found("parley_streams_open") == 1
            assert found("parley_replays_total", cause="opened") == 1
            assert found("parley_feed_up") == 1
            count = "parley_http_request_seconds_count"
            assert found(count, method="POST", status="201") == 1
            # The stream's too, though it has not ended.
            assert found(count, method="GET", status="200") >= 1

        async def closed() -> bool:
            return (await look(client))("parley_streams_open") == 0

        await until(closed)
        before = await look(client)
        for path in ("/health", "/health/ready", "/metrics"):
            await client.get(path)
        after = await look(client)
        seen = {"method": "GET", "status": "200"}
        assert after(count, **seen) == before(count, **seen)
        await client.request("PROPFIND", "/health")
        found = await look(client)
        assert ("method", "other") in found.labels
        assert ("method", "PROPFIND") not in found.labels
