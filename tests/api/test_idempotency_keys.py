"""Which Idempotency-Keys are taken, and how long they and their answers are kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.store.idempotency import forget_answers, forget_old
from shared.store.sequence import lock_conversation
from tests.api.talk import (
    CONVERSATIONS,
    begin,
    expect_problem,
    expect_same,
    keyed,
    messages_of,
    path_of,
    say_once,
    some_wait,
)
from tests.fixtures.people import Person
from tests.fixtures.servers import CountRows

pytestmark = pytest.mark.anyio

BAD_KEYS = ["", " ", "a b", "a\tb", "a, b", "é", "ключ", "\x7f", "x" * 256, "x" * 5000]


async def count_keys(db: Database) -> int:
    async with db.snapshot(EVERYONE) as tx:
        count: int = await tx.scalar(text("SELECT count(*) FROM idempotency_keys"))
    return count


async def age_keys(db: Database, age: timedelta) -> None:
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - CAST(:age AS interval)"),
            {"age": age},
        )


async def test_a_bad_key_is_refused_and_nothing_is_written(
    client: AsyncClient, db: Database, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    before = await count_rows()
    given: list[list[tuple[bytes, bytes]]] = [
        [(b"Idempotency-Key", key.encode())] for key in BAD_KEYS
    ]
    given += [[(b"idempotency-key", b"a"), (b"Idempotency-Key", b"a")]]
    given += [[(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"")]]
    for headers in given:
        for path, body in ((CONVERSATIONS, {}), (messages_of(conversation), {"content": "x"})):
            answer = await client.post(path, json=body, headers=headers)
            problem = expect_problem(answer, 400, "invalid_request")
            assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert await count_rows() == before
    assert await count_keys(db) == 0


async def test_every_visible_character_can_stand_in_a_key(client: AsyncClient) -> None:
    conversation = await begin(client)
    key = "".join(map(chr, range(0x21, 0x7F)))
    first = await say_once(client, conversation, key=key)
    assert first.status_code == 202
    expect_same(await say_once(client, conversation, key=key), first)


async def test_a_key_stands_for_a_day(
    client: AsyncClient, db: Database, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    first = await say_once(client, conversation, "hello")
    await age_keys(db, timedelta(hours=23, minutes=59))
    expect_same(await say_once(client, conversation, "hello"), first)
    await age_keys(db, timedelta(minutes=2))
    second = await say_once(client, conversation, "other words")
    assert second.json()["message"]["id"] != first.json()["message"]["id"]
    expect_same(await say_once(client, conversation, "other words"), second)
    assert (await count_rows())["messages"] == 2
    assert await count_keys(db) == 1


async def test_old_keys_are_forgotten_and_others_are_not(client: AsyncClient, db: Database) -> None:
    conversation = await begin(client)
    for key in ("a", "b", "c"):
        await say_once(client, conversation, key=key)
    await age_keys(db, timedelta(hours=25))
    kept = await say_once(client, conversation, key="d")
    async with db.transaction(EVERYONE) as tx, db.transaction(EVERYONE) as other:
        await other.execute(text("SELECT 1 FROM idempotency_keys WHERE key = 'a' FOR UPDATE"))
        await forget_old(tx)  # waits for nobody
    assert await count_keys(db) == 2
    async with db.transaction(EVERYONE) as tx:
        await forget_old(tx)
    assert await count_keys(db) == 1
    expect_same(await say_once(client, conversation, key="d"), kept)


async def test_with_its_conversation_an_answer_is_gone(
    client: AsyncClient, db: Database, bob: Person, count_rows: CountRows
) -> None:
    begun = await client.post(CONVERSATIONS, json={"title": "private"}, headers=keyed("c"))
    conversation = begun.json()
    said = await say_once(client, conversation, "private")
    other = await say_once(client, await begin(client), "other", key="other")
    refused = await client.delete(path_of(conversation), headers=bob.headers)
    expect_problem(refused, 404, "not_found")
    expect_same(await say_once(client, conversation, "private"), said)
    assert (await client.delete(path_of(conversation))).status_code == 204
    written = await count_rows()
    expect_problem(await say_once(client, conversation, "private"), 404, "not_found")
    again = await client.post(CONVERSATIONS, json={"title": "private"}, headers=keyed("c"))
    expect_problem(again, 404, "not_found")
    assert await count_rows() == written
    async with db.snapshot(EVERYONE) as tx:
        kept = await tx.scalar(text("SELECT string_agg(answer::text, ' ') FROM idempotency_keys"))
    assert "private" not in kept
    assert other.json()["message"]["id"] in kept


async def test_a_message_that_meets_the_deletion_is_stored_or_refused(
    client: AsyncClient, db: Database
) -> None:
    for number in range(8):
        conversation, key = await begin(client), str(number)
        await say_once(client, conversation, "private", key=key)
        answers = await asyncio.gather(
            say_once(client, conversation, "private", key=key),
            say_once(client, conversation, "private", key=f"{key}-first"),
            client.delete(path_of(conversation)),
            say_once(client, conversation, "private", key=key),
        )
        assert {answer.status_code for answer in answers} <= {202, 204, 404}
    async with db.snapshot(EVERYONE) as tx:
        assert not await tx.all(text("SELECT 1 FROM idempotency_keys WHERE answer IS NOT NULL"))


async def test_a_deletion_waits_for_no_expired_key_that_is_used_again(
    client: AsyncClient, db: Database
) -> None:
    """Whoever uses it again holds the key and waits for the conversation that is being deleted."""
    conversation = await begin(client)
    conversation_id = UUID(conversation["id"])
    await say_once(client, conversation)
    await age_keys(db, timedelta(hours=25))
    async with db.transaction(EVERYONE) as deleting:
        assert await lock_conversation(deleting, conversation_id)
        saying = asyncio.create_task(say_once(client, conversation))
        await some_wait(db)
        await forget_answers(deleting, conversation_id)
    assert (await saying).status_code == 202
