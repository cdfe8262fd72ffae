"""What the tests say and do: a client's requests, and a worker's part in few words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from httpx import AsyncClient, Response
from sqlalchemy import text

from api.app import create_app
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.events import Turn
from shared.ids import new_id
from shared.publisher import Publisher
from shared.settings import Settings
from shared.store.claims import claim
from shared.store.endings import end_turn
from shared.store.messages import add_message
from shared.store.sequence import take_seqs
from shared.store.workers import renew_lease
from tests.fixtures.http import speaking
from tests.fixtures.people import Person
from tests.fixtures.waiting import until

CONVERSATIONS = "/api/chat/conversations"
Json = dict[str, Any]


@asynccontextmanager
async def limited(
    settings: Settings, person: Person | None, **changed: Any
) -> AsyncGenerator[AsyncClient]:
    named = {f"parley_{name}": value for name, value in changed.items()}
    async with speaking(create_app(settings.model_copy(update=named)), person) as client:
        yield client


def path_of(conversation: Json | str) -> str:
    found = conversation if isinstance(conversation, str) else conversation["id"]
    return f"{CONVERSATIONS}/{found}"


def messages_of(conversation: Json | str) -> str:
    return f"{path_of(conversation)}/messages"


async def begin(client: AsyncClient, **body: Any) -> Json:
    answer = await client.post(CONVERSATIONS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def say(client: AsyncClient, conversation: Json | str, content: str) -> Json:
    answer = await client.post(messages_of(conversation), json={"content": content})
    assert answer.status_code == 202, answer.text
    return answer.json()


def keyed(key: str = "k") -> dict[str, str]:
    return {"Idempotency-Key": key}


async def say_once(
    client: AsyncClient, conversation: Json, content: str = "hello", key: str = "k", **more: Any
) -> Response:
    path = messages_of(conversation)
    return await client.post(path, json={"content": content}, headers=keyed(key), **more)


async def get(client: AsyncClient, path: str, **params: Any) -> Json:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def expect_problem(answer: Response, status: int, code: str) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: Json = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"/schema#problem-{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem.keys() <= {"type", "title", "status", "detail", "code", "errors"}
    return problem


def expect_same(again: Response, first: Response) -> None:
    """Byte for byte."""
    assert again.status_code == first.status_code
    assert again.content == first.content
    assert again.headers.get("location") == first.headers.get("location")


async def some_wait(db: Database, count: int = 1) -> None:
    """Until that many transactions wait for a lock."""

    async def look() -> bool:
        async with db.snapshot(LOGIN) as tx:
            found = await tx.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
        return found >= count

    await until(look)


async def claim_turn(db: Database, feed: Publisher, conversation_id: str) -> Turn:
    """As a worker does it."""
    worker_id = new_id()
    async with db.transaction(EVERYONE) as tx:
        await renew_lease(tx, worker_id, lease=timedelta(minutes=1))
        claimed = await claim(tx, UUID(conversation_id), worker_id=worker_id, model="echo")
    assert claimed is not None
    await feed.changes(UUID(conversation_id), claimed.changes)
    return claimed.turn


async def answer_turn(db: Database, feed: Publisher, turn: Turn, text: str) -> None:
    """The assistant's message and the turn's end, as a worker writes and tells them."""
    async with db.transaction(EVERYONE) as tx:
        seq = await take_seqs(tx, turn.conversation_id, 2, preview=text, messages=1)
        created = await add_message(
            tx,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            seq=seq,
            role="assistant",
            content=text,
        )
        ended, _ = await end_turn(tx, turn, seq=seq + 1, status="completed")
    await feed.changes(turn.conversation_id, [created, ended])
