"""The same request under the same Idempotency-Key: done once, answered the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from api.idempotency import request_hash
from api.wire import NewMessage
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from tests.api.talk import (
    CONVERSATIONS,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    expect_same,
    get,
    keyed,
    messages_of,
    path_of,
    say_once,
    some_wait,
)
from tests.fixtures.people import Person
from tests.fixtures.processes import StartOne
from tests.fixtures.servers import CountRows

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
Send = Callable[[], Coroutine[Any, Any, Response]]


async def test_a_message_sent_again_is_stored_once_and_answered_the_same(
    client: AsyncClient, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    first = await say_once(client, conversation, "✨ hello 👍")
    assert first.status_code == 202
    assert first.headers["location"].endswith(first.json()["turn"]["id"])
    written = await count_rows()
    for _ in range(3):
        expect_same(await say_once(client, conversation, "✨ hello 👍"), first)
    assert await count_rows() == written
    assert (await get(client, path_of(conversation)))["message_count"] == 1


async def test_another_key_or_none_is_another_message(client: AsyncClient) -> None:
    conversation = await begin(client)
    body = {"content": "hello"}
    answers = [await say_once(client, conversation, key=key) for key in ("a", "b", "A", "a" * 255)]
    answers += [await client.post(messages_of(conversation), json=body) for _ in range(2)]
    assert len({answer.json()["message"]["id"] for answer in answers}) == 6


async def test_a_conversation_begun_again_is_the_same_one(
    client: AsyncClient, count_rows: CountRows
) -> None:
    first = await client.post(CONVERSATIONS, json={"title": "Plans"}, headers=keyed())
    assert first.status_code == 201
    written = await count_rows()
    await client.put(path_of(first.json()), json={"title": "Renamed since"})
    expect_same(await client.post(CONVERSATIONS, json={"title": "Plans"}, headers=keyed()), first)
    assert await count_rows() == written


async def test_a_conversation_without_a_title_may_be_asked_for_in_three_ways(
    client: AsyncClient,
) -> None:
    first = await client.post(CONVERSATIONS, headers=keyed())
    assert first.status_code == 201
    for body in (b"{}", b'{"title": null}'):
        again = await client.post(CONVERSATIONS, content=body, headers=JSON | keyed())
        expect_same(again, first)


async def test_after_the_turn_has_ended_the_answer_is_still_the_first(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    first = await say_once(client, conversation)
    turn = await claim_turn(db, feed, conversation["id"])
    await answer_turn(db, feed, turn, "hi there")
    expect_same(await say_once(client, conversation), first)
    assert first.json()["turn"]["status"] == "queued"


async def test_with_wait_a_repeated_message_waits_for_the_turn_of_the_first(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await begin(client)
    first = await say_once(client, conversation)
    answer = await say_once(client, conversation, params={"wait": 0.1})
    assert answer.status_code == 202
    assert answer.json()["assistant_message"] is None
    asking = asyncio.create_task(say_once(client, conversation, params={"wait": 20}))
    turn = await claim_turn(db, feed, conversation["id"])
    await answer_turn(db, feed, turn, "hi there")
    answers = [await asking, await say_once(client, conversation, params={"wait": 20})]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.json()["assistant_message"]["content"] == "hi there"
        assert answer.json()["turn"]["status"] == "completed"
        assert answer.json()["message"] == first.json()["message"]
        assert answer.headers["location"] == first.headers["location"]
    expect_same(await say_once(client, conversation), first)


async def doubles(db: Database, send: Send) -> list[Response]:
    """Twenty at once. They come to a closed door, so that no answer is there before the next."""
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("LOCK TABLE idempotency_keys IN SHARE MODE"))
        sending = [asyncio.create_task(send()) for _ in range(20)]
        await some_wait(db, 10)
    return await asyncio.gather(*sending)


async def test_twenty_doubles_at_once_are_one_message_and_one_turn(
    client: AsyncClient, db: Database, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    before = await count_rows()
    answers = await doubles(db, lambda: say_once(client, conversation))
    for answer in answers:
        assert answer.status_code == 202
        expect_same(answer, answers[0])
    after = await count_rows()
    assert after == before | {"messages": 1, "turns": 1}
    assert (await get(client, path_of(conversation)))["seq"] == 3


async def test_twenty_doubles_at_once_are_one_conversation(
    client: AsyncClient, db: Database, count_rows: CountRows
) -> None:
    answers = await doubles(
        db, lambda: client.post(CONVERSATIONS, json={"title": "x"}, headers=keyed())
    )
    for answer in answers:
        assert answer.status_code == 201
        expect_same(answer, answers[0])
    assert (await count_rows())["conversations"] == 1


async def test_another_process_answers_the_same_also_after_a_restart(
    api_process: StartOne, alice: Person, count_rows: CountRows
) -> None:
    one, other = await asyncio.gather(api_process(), api_process())
    async with AsyncClient(base_url=one.url, headers=alice.headers) as client:
        conversation = await begin(client)
        first = await say_once(client, conversation)
    written = await count_rows()
    await one.kill()
    restarted = await api_process(parley_port=one.settings.parley_port)
    for api in (other, restarted):
        async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
            expect_same(await say_once(client, conversation), first)
    assert await count_rows() == written


async def test_the_key_of_another_request_is_refused(
    client: AsyncClient, count_rows: CountRows
) -> None:
    conversation, other = await begin(client), await begin(client)
    await say_once(client, conversation, "hello")
    await client.post(CONVERSATIONS, json={"title": "x"}, headers=keyed("c"))
    written = await count_rows()
    for path, body, key in (
        (messages_of(conversation), {"content": "hello!"}, "k"),
        (messages_of(other), {"content": "hello"}, "k"),
        (CONVERSATIONS, {"title": "hello"}, "k"),
        (CONVERSATIONS, {}, "k"),
        (CONVERSATIONS, {"title": "y"}, "c"),
        (CONVERSATIONS, {}, "c"),
        (messages_of(conversation), {"content": "x"}, "c"),
    ):
        answer = await client.post(path, json=body, headers=keyed(key))
        expect_problem(answer, 422, "idempotency_key_reused")
    assert await count_rows() == written


async def test_the_same_request_may_be_written_in_another_way(client: AsyncClient) -> None:
    conversation = await begin(client)
    first = await say_once(client, conversation, "ä")
    for body in (b'{"content":"\\u00e4"}', '\n{ "content" :\t"ä" } '.encode()):
        for path in (messages_of(conversation), messages_of(conversation["id"].upper()) + "/"):
            headers = JSON | keyed()
            expect_same(await client.post(path, content=body, headers=headers), first)


async def test_every_owner_has_keys_of_their_own(client: AsyncClient, bob: Person) -> None:
    conversation = await begin(client)
    said = await say_once(client, conversation)
    theirs = await client.post(CONVERSATIONS, json={}, headers=keyed() | bob.headers)
    assert theirs.status_code == 201
    expect_same(await say_once(client, conversation), said)
    again = await client.post(CONVERSATIONS, json={}, headers=keyed() | bob.headers)
    expect_same(again, theirs)


def test_a_field_that_a_later_version_adds_makes_no_other_request() -> None:
    class Later(NewMessage, frozen=True):
        colour: str = "blue"

    def hashed(body: NewMessage) -> bytes:
        return request_hash("POST", "/", {}, body)

    assert hashed(Later("hello")) == hashed(NewMessage("hello"))
    assert hashed(Later("hello", colour="red")) != hashed(NewMessage("hello"))


async def test_a_request_that_failed_leaves_its_key_free(
    client: AsyncClient, db: Database, bob: Person
) -> None:
    conversation = await begin(client)
    path = messages_of(conversation)
    expect_problem(await say_once(client, conversation, " "), 400, "invalid_request")
    answer = await client.post(path, content=b"content=x", headers=keyed())
    expect_problem(answer, 415, "unsupported_media_type")
    answer = await client.post(path, json={"content": "x"}, headers=keyed() | bob.headers)
    expect_problem(answer, 404, "not_found")
    expect_problem(await say_once(client, {"id": str(new_id())}), 404, "not_found")
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("ALTER TABLE messages RENAME TO elsewhere"))
    expect_problem(await say_once(client, conversation, "other words"), 500, "internal")
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("ALTER TABLE elsewhere RENAME TO messages"))
        assert not await tx.all(text("SELECT 1 FROM idempotency_keys"))
    assert (await say_once(client, conversation)).status_code == 202


async def test_who_waited_for_a_double_that_failed_is_the_first(
    client: AsyncClient, db: Database, alice: Person
) -> None:
    conversation = await begin(client)

    async def fail() -> None:
        async with db.transaction(alice.owner) as double:
            await double.execute(
                text("INSERT INTO idempotency_keys VALUES (:owner, 'k', 'another request')"),
                {"owner": alice.owner},
            )
            sayings.append(asyncio.create_task(say_once(client, conversation)))
            await some_wait(db)
            raise ZeroDivisionError

    sayings: list[asyncio.Task[Response]] = []
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await sayings[0]).status_code == 202
