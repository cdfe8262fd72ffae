from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from httpx import AsyncClient
from litestar import Litestar
from pydantic import SecretStr

from api.app import create_app
from cli.embedded import Service
from shared.settings import Settings
from tests.api.talk import begin, expect_problem, get, messages_of, path_of, say
from tests.fixtures.http import speaking
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio


def app_with(settings: Settings, **urls: str) -> Litestar:
    return create_app(
        settings.model_copy(update={name: SecretStr(url) for name, url in urls.items()})
    )


async def talk_within(client: AsyncClient, seconds: float) -> None:
    """Every change is committed and answered, whatever Redis does."""
    conversation = await begin(client)
    for content in ("one", "two"):
        began = time.monotonic()
        await say(client, conversation, content)
        assert time.monotonic() - began < seconds
    assert (await client.put(path_of(conversation), json={"title": "x"})).status_code == 200
    found = await get(client, messages_of(conversation))
    assert [message["content"] for message in found["messages"]] == ["one", "two"]
    assert (await client.delete(path_of(conversation))).status_code == 204


async def test_a_message_is_accepted_while_redis_is_down(
    settings: Settings, alice: Person, tmp_path: Path
) -> None:
    async with speaking(app_with(settings, redis_url=f"unix://{tmp_path}/none"), alice) as client:
        await talk_within(client, 1.5)


async def test_a_message_is_accepted_while_redis_hangs(
    settings: Settings, alice: Person, own_valkey: Service
) -> None:
    async with speaking(app_with(settings, redis_url=own_valkey.url), alice) as client:
        conversation = await begin(client)
        await say(client, conversation, "before")
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            await talk_within(client, 1.5)
            ready = (await client.get("/health/ready")).json()
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        assert ready["parts"]["redis"]["status"] == "unavailable"
        assert ready["parts"]["postgres"]["status"] == "ok"


async def test_a_reader_still_waits_for_news_while_redis_is_down(
    settings: Settings, alice: Person, tmp_path: Path
) -> None:
    async with speaking(app_with(settings, redis_url=f"unix://{tmp_path}/none"), alice) as client:
        conversation = await begin(client)
        found = await get(client, messages_of(conversation), since=0, wait=0.3)
        assert found["next_since"] == 0
        await say(client, conversation, "hello")
        found = await get(client, messages_of(conversation), since=0, wait=20)
        assert found["messages"]


async def test_it_can_be_stopped_at_any_moment_of_its_start(settings: Settings) -> None:
    """While redis-py connects it may swallow a cancellation; that must not hold up the end."""
    for steps in range(15):
        async with asyncio.timeout(2), create_app(settings).lifespan():
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_without_postgres_the_answer_is_to_try_again(
    settings: Settings, alice: Person, tmp_path: Path
) -> None:
    url = f"postgresql://parley@/parley?host={tmp_path}"
    async with speaking(app_with(settings, database_url=url), alice) as client:
        for answer in (
            await client.post("/api/chat/conversations"),
            await client.get("/api/chat/conversations"),
            await client.get("/api/tasks"),
        ):
            problem = expect_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"] == "1"
            assert str(tmp_path) not in str(problem)
        assert (await client.get("/health")).status_code == 200
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unavailable"
        parts = ready.json()["parts"]
        assert parts["redis"]["status"] == "ok"
        assert {parts[name]["status"] for name in ("postgres", "migrations", "workers")} == {
            "unavailable"
        }
