"""While Postgres is away clients are told to come again; then everything goes on by itself."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from tests.api.talk import CONVERSATIONS, expect_problem, messages_of
from tests.fixtures.following import answered, following, streaming
from tests.fixtures.fragile import Fragile, FragilePostgres
from tests.fixtures.service import Service
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

LONG = "slow 40 " + "word " * 40
# One that is only beginning has no name yet, but a place.
ALL_BUT_RUDE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND application_name IS DISTINCT FROM 'rude'"
)
THEIRS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley'"


async def expect_refused(service: Service, conversation_id: str) -> None:
    """Reading and writing alike: 503, and when to come again."""
    path = messages_of(conversation_id)
    for answer in await asyncio.gather(
        service.client.get(path),
        service.client.post(path, json={"content": "say lost"}),
        service.client.post(CONVERSATIONS, json={}),
        service.client.get(path, params={"since": 0, "wait": 5}),
        service.client.get(f"{CONVERSATIONS}/{conversation_id}/events"),
    ):
        expect_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    assert (await service.client.get("/health")).status_code == 200


async def accepted(service: Service, conversation_id: str, content: str) -> dict[str, Any] | None:
    """None where the answer was to come again."""
    answer = await service.client.post(messages_of(conversation_id), json={"content": content})
    assert answer.status_code in {202, 503}, answer.text
    return answer.json() if answer.status_code == 202 else None


async def expect_history(service: Service, conversation_id: str, *contents: str) -> None:
    history = await service.messages(conversation_id)
    assert [message["content"] for message in history["messages"]] == list(contents)
    assert {turn["status"] for turn in history["turns"]} == {"completed"}


@pytest.mark.parametrize("model", ["goes on meanwhile", "waits"])
async def test_a_crash_of_postgres_in_the_middle_of_an_answer_is_made_good(
    fragile: Fragile, model: str
) -> None:
    service, postgres = fragile.service, fragile.postgres
    conversation_id = await service.conversation()
    async with following(service, conversation_id) as stream:
        await service.say(conversation_id, "gated First then the rest")
        await stream.until(streaming("First "))
        await postgres.stop_at_once()
        if model == "goes on meanwhile":
            service.stand_in.open_gate()
        await expect_refused(service, conversation_id)
        postgres.start()
        service.stand_in.open_gate()
        await stream.until(answered("First then the rest"))
        await until(lambda: accepted(service, conversation_id, "say after"))
        await stream.until(answered("First then the rest", "after"))
    await expect_history(
        service,
        conversation_id,
        *("gated First then the rest", "First then the rest", "say after", "after"),
    )


async def test_killed_connections_cost_no_word_of_an_answer(fragile: Fragile) -> None:
    service = fragile.service
    conversation_id = await service.conversation()
    rude = await fragile.postgres.connect()
    async with following(service, conversation_id) as stream:
        await service.say(conversation_id, LONG)
        for words in (5, 15, 25):
            await stream.until(lambda r, least=words: len(r.text.split()) >= least)
            assert await rude.fetch(THEIRS)
            await until(lambda: accepted(service, conversation_id, "say more"))
        await stream.until(answered("word " * 40, "more", "more", "more"))
    await rude.close()
    history = await service.messages(conversation_id)
    assert len(history["messages"]) == 8


@asynccontextmanager
async def every_connection_taken(postgres: FragilePostgres) -> AsyncGenerator[None]:
    """Somebody else has them all, and whoever of ours had one has none any more."""
    taken = [await postgres.connect()]
    try:
        full = False
        while not full:
            with suppress(asyncpg.PostgresError):
                full = not await taken[0].fetch(ALL_BUT_RUDE)
            try:
                taken.append(await postgres.connect())
                full = False
            except asyncpg.TooManyConnectionsError:
                continue
        yield
    finally:
        await asyncio.gather(*(connection.close() for connection in taken))


async def test_without_a_free_connection_clients_are_told_to_come_again(fragile: Fragile) -> None:
    service = fragile.service
    conversation_id = await service.conversation()
    async with following(service, conversation_id) as stream:
        await service.say(conversation_id, "gated First then the rest")
        await stream.until(streaming("First "))
        async with every_connection_taken(fragile.postgres):
            service.stand_in.open_gate()
            await expect_refused(service, conversation_id)
        await stream.until(answered("First then the rest"))
        await until(lambda: accepted(service, conversation_id, "say after"))
        await stream.until(answered("First then the rest", "after"))


@asynccontextmanager
async def locked(postgres: FragilePostgres, *conversation_ids: str) -> AsyncGenerator[None]:
    """Somebody else's transaction that doesn't come to its end."""
    rude = await postgres.connect()
    async with rude.transaction():
        for conversation_id in conversation_ids:
            await rude.execute(
                "SELECT FROM conversations WHERE id = $1 FOR UPDATE", conversation_id
            )
        yield
    await rude.close()


async def test_a_conversation_locked_for_long_is_refused_and_goes_on_afterwards(
    fragile: Fragile,
) -> None:
    """Longer than anybody waits for a lock: the worker can't write its answer either."""
    service = fragile.service
    conversation_id, other = await service.conversation(), await service.conversation()
    async with following(service, conversation_id) as stream:
        await service.say(conversation_id, "gated First then the rest")
        await stream.until(streaming("First "))
        async with locked(fragile.postgres, conversation_id):
            refused = asyncio.create_task(accepted(service, conversation_id, "say refused"))
            service.stand_in.open_gate()
            answer = await service.say(other, "say elsewhere", wait=20)
            assert answer["assistant_message"]["content"] == "elsewhere"
            assert await refused is None
        await stream.until(answered("First then the rest"))
    await expect_history(
        service, conversation_id, "gated First then the rest", "First then the rest"
    )


async def test_a_short_lock_is_waited_for(fragile: Fragile) -> None:
    service = fragile.service
    conversation_id = await service.conversation()
    rude = await fragile.postgres.connect()
    async with following(service, conversation_id) as stream:
        await service.say(conversation_id, "gated First then the rest")
        await stream.until(streaming("First "))
        async with locked(fragile.postgres, conversation_id):
            said = asyncio.create_task(accepted(service, conversation_id, "say second"))
            service.stand_in.open_gate()
            await until(lambda: waiting_for_locks(rude, 2))
        assert await said
        await stream.until(answered("First then the rest", "second"))
        assert {turn["attempt"] for turn in stream.reader.turns.values()} == {1}
    await rude.close()


async def waiting_for_locks(connection: Any, count: int) -> bool:
    """The answer of the worker and the message of the API."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'parley' AND wait_event_type = 'Lock'"
    )
    return found == count
