from __future__ import annotations

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.ids import new_id
from shared.store.workers import renew_lease

pytestmark = pytest.mark.anyio


async def test_health_needs_no_token(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_needs_a_worker(client: AsyncClient, db: Database) -> None:
    client.headers.pop("authorization")
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["workers"] == {"status": "unavailable", "detail": "0 alive"}
    async with db.transaction(EVERYONE) as tx:
        await renew_lease(tx, new_id(), lease=timedelta(minutes=1))
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["parts"].keys() == {"postgres", "redis", "migrations", "workers"}
    assert {part["status"] for part in answer.json()["parts"].values()} == {"ok"}


async def test_ready_needs_this_releases_schema(client: AsyncClient, db: Database) -> None:
    for change in ("UPDATE alembic_version SET version_num = '0000'", "DROP TABLE alembic_version"):
        async with db.transaction(LOGIN) as tx:
            await tx.execute(text(change))
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["parts"]["migrations"]["status"] == "unavailable"
        assert answer.json()["parts"]["postgres"]["status"] == "ok"


async def test_head_is_get_without_a_body(client: AsyncClient) -> None:
    for path in ("/health", "/api/chat/conversations", "/schema"):
        shown, asked = await client.get(path), await client.head(path)
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["content-type"] == shown.headers["content-type"]
        assert asked.headers["content-length"] == shown.headers["content-length"]
