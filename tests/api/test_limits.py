"""Who asks too much is told to wait, exactly, and by every process alike."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr

from api.counting import FORGET_SECONDS, Counting, Stream, Window
from shared.redis import Redis, connect_redis
from shared.settings import Settings
from tests.api.talk import CONVERSATIONS, begin, expect_problem, limited, messages_of, say
from tests.fixtures.people import Person

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

pytestmark = pytest.mark.anyio

SHOWN = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


def expect_told(answer: Response, name: str, limit: int, remaining: int) -> int:
    """The headers of a limit; how many seconds it has left."""
    assert answer.headers["ratelimit-policy"] == f'"{name}";q={limit};w=60'
    shown = SHOWN.fullmatch(answer.headers["ratelimit"])
    assert shown is not None
    assert (shown[1], int(shown[2])) == (name, remaining)
    assert 0 < int(shown[3]) <= 60
    return int(shown[3])


def expect_refused(answer: Response, name: str, limit: int) -> None:
    expect_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) == expect_told(answer, name, limit, 0)


async def test_an_owner_may_ask_so_often_and_is_told_how_often_still(
    settings: Settings, alice: Person, bob: Person
) -> None:
    async with limited(settings, alice, limit_requests_per_minute=3) as client:
        for left in (2, 1, 0):
            expect_told(await client.get(CONVERSATIONS), "requests", 3, left)
        expect_refused(await client.get("/api/tasks"), "requests", 3)
        expect_told(await client.get(CONVERSATIONS, headers=bob.headers), "requests", 3, 2)


async def test_the_window_ends_a_minute_after_its_first_request(
    settings: Settings, alice: Person, redis: Redis
) -> None:
    async with limited(settings, alice, limit_requests_per_minute=1) as client:
        await client.get(CONVERSATIONS)
        key = "parley:limit:requests:alice"
        left = await redis.pttl(key)
        assert 50_000 < left <= 60_000
        expect_refused(await client.get(CONVERSATIONS), "requests", 1)
        assert await redis.pttl(key) <= left
        await redis.delete(key)
        expect_told(await client.get(CONVERSATIONS), "requests", 1, 0)
        await redis.persist(key)
        expect_told(await client.get(CONVERSATIONS), "requests", 1, 0)


async def test_messages_have_a_limit_of_their_own_by_whatever_route_they_come(
    settings: Settings, alice: Person
) -> None:
    async with limited(settings, alice, limit_messages_per_minute=3) as client:
        conversation = await begin(client)
        turn = (await say(client, conversation, "one"))["turn"]
        chat = {"message": "two", "conversation_id": conversation["id"]}
        answer = await client.post("/api/chat", json=chat, params={"wait": 0})
        expect_told(answer, "messages", 3, 1)
        retry = f"/api/chat/turns/{turn['id']}/retry"
        expect_told(await client.post(retry), "messages", 3, 0)
        body = {"content": "three"}
        for path, sent in [
            (messages_of(conversation), body),
            ("/api/chat", chat),
            ("/api/v1/alice/chat", chat),
            (retry, None),
        ]:
            expect_refused(await client.post(path, json=sent), "messages", 3)
        assert (await client.get(messages_of(conversation))).json()["total_count"] == 2


async def test_who_guesses_tokens_is_counted_by_address(settings: Settings, alice: Person) -> None:
    async with limited(settings, None, limit_address_requests_per_minute=4) as client:
        guess = {"Authorization": "Bearer a.b.c"}
        for path in (CONVERSATIONS, "/nowhere", "/api/tasks"):
            expect_problem(await client.get(path, headers=guess), 401, "unauthorized")
        answer = await client.get(CONVERSATIONS, headers=alice.headers)
        expect_told(answer, "address", 4, 0)
        for headers in (guess, alice.headers, {}):
            for path in (CONVERSATIONS, "/nowhere"):
                expect_refused(await client.get(path, headers=headers), "address", 4)
        assert (await client.get("/health")).status_code == 200


async def test_an_address_that_somebody_only_claims_does_not_help(
    settings: Settings, alice: Person
) -> None:
    here = {"limit_address_requests_per_minute": 2}

    async def passes(client: AsyncClient, *values: str) -> list[int]:
        sent = [{"X-Forwarded-For": value} for value in values]
        return [(await client.get(CONVERSATIONS, headers=h)).status_code for h in sent]

    async with limited(settings, alice, **here) as client:
        assert await passes(client, "1.1.1.1", "2.2.2.2", "3.3.3.3") == [200, 200, 429]
    async with limited(settings, alice, **here, trusted_proxies="127.0.0.1") as client:
        spoofed = [f"{n}.{n}.{n}.{n}, 198.51.100.7" for n in range(3)]
        assert await passes(client, *spoofed) == [200, 200, 429]
        assert await passes(client, "198.51.100.8") == [200]


async def test_a_limit_of_none_counts_nothing(
    settings: Settings, alice: Person, redis: Redis
) -> None:
    none = dict.fromkeys(
        (name.removeprefix("parley_") for name in Settings.model_fields if "_limit_" in name), 0
    )
    async with limited(settings, alice, **none) as client:
        conversation = await begin(client)
        answer = await client.post(messages_of(conversation), json={"content": "hello"})
        assert answer.status_code == 202
        assert "ratelimit" not in answer.headers
        assert await redis.keys("parley:limit:*") == []


async def test_without_redis_each_process_counts_by_itself(
    settings: Settings, alice: Person, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr(f"unix://{tmp_path}/none")})
    async with limited(away, alice, limit_requests_per_minute=3) as client:
        for left in (2, 1, 0):
            expect_told(await client.get(CONVERSATIONS), "requests", 3, left)
        expect_refused(await client.get(CONVERSATIONS), "requests", 3)
    windows = [Window("requests", "parley:limit:requests:bob", 1)]
    stranded = connect_redis(away)
    counting = Counting(stranded)
    streams = [Stream("parley:limit:streams:bob", str(n), 1) for n in range(2)]
    assert not (await counting.spend([], streams[0])).too_many_streams
    assert (await counting.spend([], streams[1])).too_many_streams
    await counting.leave(streams[0])
    assert not (await counting.spend([], streams[1])).too_many_streams
    assert (await counting.spend(windows)).full is None
    assert (await counting.spend(windows)).full is not None
    await counting.end()
    await stranded.aclose(close_connection_pool=True)


async def test_what_a_process_has_in_mind_is_bounded(redis: Redis) -> None:
    """It looks through all of it once a second at most, and what it heard of last stays."""
    now = 0.0
    counting = Counting(redis, most_kept=3, clock=lambda: now)
    windows = [Window("address", f"parley:limit:address:{number}", 2) for number in range(6)]

    async def kept(*numbers: int) -> list[int]:
        """Once those were heard of."""
        for number in numbers:
            await counting.spend([windows[number]])
        return [n for n, window in enumerate(windows) if counting.known_full(window)]

    assert await kept(0, 0, 1, 1, 2, 2) == [0, 1, 2]
    assert await kept(0) == [0, 1, 2]
    assert await kept(3, 3) == [0, 2, 3]
    assert await kept(4, 4) == [0, 2, 3, 4], "it was looked through again at once"
    now += FORGET_SECONDS
    assert await kept(5, 5) == [3, 4, 5]


async def test_an_address_over_its_limit_gets_no_look_at_its_token_from_health_either(
    alone: Settings,
) -> None:
    """Without Postgres the look at a cookie is a 503."""
    cookie = {"Cookie": "parley_session=nobody", "Origin": "http://parley.test"}
    async with limited(alone, None, limit_address_requests_per_minute=1) as client:
        expect_problem(await client.get("/nowhere"), 401, "unauthorized")
        for path in ("/health", "/health/", "/health/ready"):
            expect_refused(await client.post(path, headers=cookie), "address", 1)
        for method in ("GET", "HEAD"):
            assert (await client.request(method, "/health")).status_code == 200


async def test_many_processes_together_let_pass_exactly_as_many(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own client and asks for all it has at once; the scripts are new to Redis. On a
    busy machine the answers take longer than a process waits before it counts by itself.
    """
    monkeypatch.setattr("api.trips.ASK_SECONDS", 10.0)
    monkeypatch.setattr("shared.redis.PROMPT_SECONDS", 10.0)
    windows = [Window("requests", "parley:limit:requests:x", 50), Window("address", "other", 400)]
    clients = [connect_redis(settings) for _ in range(5)]
    await clients[0].script_flush()
    processes = [Counting(client) for client in clients]
    verdicts = await asyncio.gather(
        *(process.spend(windows) for process in processes for _ in range(40))
    )
    assert sum(verdict.full is None for verdict in verdicts) == 50
    seen = sorted(verdict.counts[0].spent for verdict in verdicts if verdict.full is None)
    assert seen == list(range(1, 51))
    spent = (await processes[0].spend(windows[1:])).counts[0].spent
    assert spent == 51, "what one limit refused was counted by another"
    for client in clients:
        await client.aclose(close_connection_pool=True)
