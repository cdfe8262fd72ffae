"""Searches that take long: they leave the rest of the process alone, and end.

A lock on the messages stands for a Postgres that has much to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import SEARCHES, Database, Transaction
from tests.api.talk import CONVERSATIONS, expect_problem
from tests.api.test_search import SEARCH, tell
from tests.fixtures.people import Person, TokenFor
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


class Busy:
    """Postgres, in which every search hangs; and those who search all the same."""

    def __init__(self, client: AsyncClient, tx: Transaction) -> None:
        self._client = client
        self._tx = tx

    def search(self, headers: dict[str, str], times: int = 1) -> list[asyncio.Task[Response]]:
        return [
            asyncio.create_task(self._client.get(SEARCH, params={"q": "needle"}, headers=headers))
            for _ in range(times)
        ]

    async def waiting(self) -> int:
        """Searches that have come as far as Postgres."""
        found: int = await self._tx.scalar(WAITING)
        return found


@asynccontextmanager
async def busy_database(client: AsyncClient, db: Database) -> AsyncGenerator[Busy]:
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"))
        yield Busy(client, tx)


@pytest.fixture
async def busy(client: AsyncClient, db: Database) -> AsyncIterator[Busy]:
    await tell(client, "needle")
    async with busy_database(client, db) as found:
        yield found


async def test_many_searches_of_one_owner_leave_the_connections_to_others(
    client: AsyncClient, db: Database, alice: Person, bob: Person
) -> None:
    await tell(client, "needle")
    async with busy_database(client, db) as busy:
        searches = busy.search(alice.headers, 40)
        await until(busy.waiting)
        others = [client.get(CONVERSATIONS, headers=bob.headers) for _ in range(5)]
        assert {answer.status_code for answer in await asyncio.gather(*others)} == {200}
        assert await busy.waiting() == 1
    assert {answer.status_code for answer in await asyncio.gather(*searches)} <= {200, 503}
    answers = await asyncio.gather(*busy.search(alice.headers, 10))
    assert [len(answer.json()["results"]) for answer in answers] == [1] * 10


async def test_only_so_many_search_at_once_whoever_they_are(
    busy: Busy, client: AsyncClient, token_for: TokenFor, bob: Person
) -> None:
    everyone = [{"Authorization": f"Bearer {token_for(f'owner-{n}')}"} for n in range(SEARCHES + 3)]
    searches = [search for headers in everyone for search in busy.search(headers)]
    await until(lambda: reached(busy, SEARCHES))
    assert (await client.get(CONVERSATIONS, headers=bob.headers)).status_code == 200
    assert await busy.waiting() <= SEARCHES
    await cancel(searches)


async def test_who_waits_for_too_long_is_told_to_try_again(
    busy: Busy, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.WAIT_SECONDS", 0.1)
    first = busy.search(alice.headers)
    await until(busy.waiting)
    (second,) = busy.search(alice.headers)
    expect_problem(await second, 503, "unavailable")
    assert (await second).headers["retry-after"] == "1"
    others = busy.search(bob.headers)
    await until(lambda: reached(busy, 2))
    await cancel([*first, *others])


async def test_a_search_that_takes_too_long_ends_and_makes_room(
    client: AsyncClient, db: Database, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(client, "needle")
    monkeypatch.setattr("shared.db.SHORT", text("SET LOCAL statement_timeout = '100ms'"))
    async with busy_database(client, db) as busy:
        (search,) = busy.search(alice.headers)
        problem = expect_problem(await search, 503, "unavailable")
        assert problem["detail"] == "It took too long."
        assert (await search).headers["retry-after"] == "1"
    (search,) = busy.search(alice.headers)
    assert (await search).status_code == 200


async def reached(busy: Busy, count: int) -> bool:
    return await busy.waiting() == count


async def cancel(searches: list[asyncio.Task[Response]]) -> None:
    for search in searches:
        search.cancel()
    await asyncio.gather(*searches, return_exceptions=True)
