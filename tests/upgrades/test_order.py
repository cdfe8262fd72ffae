"""A release and its migration come in any order."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from alembic import command
from httpx import AsyncClient
from sqlalchemy import text

from migrations.run import config, upgrade
from shared.connection import LOGIN
from shared.db import Database
from shared.ids import new_id
from shared.settings import Settings
from tests.api.talk import begin, expect_problem, say
from tests.fixtures.people import Person
from tests.fixtures.processes import Process, Starter, StartOne
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

LEFT_OVER = """
    INSERT INTO conversations (id, user_id, title, last_seq) VALUES (:id, 'alice', 'x', 1);
"""
TURN = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
      position, created_at)
    VALUES (:id, :id, 'alice', :id, 1, 1, 'queued', 1, now() - interval '1 h')
"""


def lines(process: Process) -> list[dict[str, Any]]:
    """None before it has begun."""
    if not process.log.exists():
        return []
    return [json.loads(line) for line in process.log.read_text().splitlines()]


def events(process: Process, name: str) -> list[dict[str, Any]]:
    return [line for line in lines(process) if line["event"] == name]


async def looks(db: Database) -> int:
    """How often somebody has looked which schema there is."""
    query = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'alembic_version'"
    async with db.snapshot(LOGIN) as tx:
        return await tx.scalar(text(query))


async def looks_more(db: Database, than: int) -> bool:
    return await looks(db) > than


async def readiness(client: AsyncClient) -> dict[str, str]:
    answer = await client.get("/health/ready")
    parts: dict[str, dict[str, str]] = answer.json()["parts"]
    return {name: part["status"] for name, part in parts.items()}


async def test_a_new_release_on_an_old_schema_does_nothing_until_the_migration_and_then_goes_on(
    settings: Settings, db: Database, starter: Starter, api_process: StartOne, alice: Person
) -> None:
    """A turn that waits for a worker is what it could do harm to."""
    url = settings.database_url.get_secret_value()
    await asyncio.to_thread(command.downgrade, config(url), "0003")
    turn = {"id": new_id()}
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text(LEFT_OVER), turn)
        await tx.execute(text(TURN), turn)
    api, worker = await api_process(), starter.fork("worker.main", settings)
    await until(lambda: events(worker, "waiting_for_migrations"))
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        assert (await client.get("/health")).status_code == 200
        found, seen = await readiness(client), await looks(db)
        assert (found["postgres"], found["migrations"]) == ("ok", "unavailable")
        for path in ("/api/chat/conversations", "/api/tasks", "/api/chat/search?q=x"):
            answer = await client.get(path)
            problem = expect_problem(answer, 503, "unavailable")
            assert "migrated" in problem["detail"]
            assert answer.headers["retry-after"] == "1"
        answer = await client.post("/api/chat/conversations", json={})
        expect_problem(answer, 503, "unavailable")
        # Time enough for a lease and a sweep.
        await until(lambda: looks_more(db, seen + 2))
        assert not events(worker, "turn_claimed")
        assert found["workers"] == "unavailable"
        await asyncio.to_thread(upgrade, url)
        await until(lambda: events(worker, "turn_claimed"))
        conversation = await begin(client)
        await say(client, conversation, "hello")
        await until(lambda: len(events(worker, "turn_claimed")) > 1)
        assert set((await readiness(client)).values()) == {"ok"}
    assert len(events(worker, "waiting_for_migrations")) == 1


async def test_a_worker_that_waits_for_the_migration_ends_when_asked(
    settings: Settings, db: Database, starter: Starter
) -> None:
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("DROP TABLE workers, alembic_version"))
    worker = starter.fork("worker.main", settings)
    await until(lambda: events(worker, "waiting_for_migrations"))
    assert await worker.stop() == 0
    assert events(worker, "worker_stopped")


async def test_an_old_release_works_on_a_newer_schema(
    settings: Settings, db: Database, api_process: StartOne, worker_process: StartOne, alice: Person
) -> None:
    """As in the middle of a rollout, or after the code was rolled back."""
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await tx.execute(text("ALTER TABLE turns ADD COLUMN of_tomorrow text"))
        await tx.execute(text("ALTER TABLE messages ADD COLUMN of_tomorrow text"))
        await tx.execute(text("ALTER TABLE conversations ADD COLUMN of_tomorrow text"))
    api, worker = await asyncio.gather(api_process(), worker_process())
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        assert set((await readiness(client)).values()) == {"ok"}
        await say(client, await begin(client), "hello")
        await until(lambda: events(worker, "turn_ended"))
    assert events(worker, "turn_ended")[0]["status"] == "completed"
