"""Retention: what was deleted long ago goes for good, and nothing else does."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.feed import Feed
from shared.publisher import live_key
from shared.redis import Redis
from shared.settings import Settings
from shared.store.erasure import MESSAGES_AT_ONCE, forget_old_usage
from shared.store.proof import rows_of
from tests.fixtures.belongings import fill, places_of
from worker.purge import purge

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
FILL = """
    INSERT INTO messages (id, conversation_id, user_id, seq, changed_seq, role, content, status)
    SELECT gen_random_uuid(), :id, 'alice', n + 10, n + 10, 'user', 'x', 'completed'
    FROM generate_series(1, CAST(:count AS int)) n
"""


async def deleted(db: Database, redis: Redis, ago: timedelta | None, owner: str = "alice") -> UUID:
    conversation_id = await fill(db, redis, owner)
    if ago is not None:
        async with db.transaction(EVERYONE) as tx:
            await tx.execute(
                text(
                    "UPDATE conversations SET deleted_at = now() - CAST(:ago AS interval)"
                    " WHERE id = :id"
                ),
                {"id": conversation_id, "ago": ago},
            )
    return conversation_id


async def test_what_was_deleted_longer_ago_goes_whole_and_the_younger_is_spared(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    for ago in (None, 29.9 * DAY):
        await deleted(db, redis, ago, "bob")
    async with db.snapshot(EVERYONE) as tx:
        spared = await rows_of(tx, "bob")
    old = [await deleted(db, redis, ago) for ago in (30.1 * DAY, 400 * DAY)]
    await purge(db, feed, settings)
    places = await places_of(db, None, old)
    assert not any(places.values()), places
    async with db.snapshot(EVERYONE) as tx:
        assert await rows_of(tx, "bob") == spared
    for conversation_id in old:
        assert await redis.get(live_key(conversation_id)) is None


async def test_a_key_that_has_not_expired_stays_without_its_answer(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    """So that a request repeated under it makes nothing a second time."""
    fresh = await deleted(db, redis, 31 * DAY)
    expired = await deleted(db, redis, 31 * DAY)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text(
                "UPDATE idempotency_keys SET created_at = now() - CAST(:ago AS interval)"
                " WHERE key = :key"
            ),
            {"ago": 2 * DAY, "key": expired.hex},
        )
    await purge(db, feed, settings)
    async with db.snapshot(EVERYONE) as tx:
        rows = await tx.all(
            text("SELECT key, conversation_id, answer FROM idempotency_keys WHERE key <> 'other'")
        )
    assert [tuple(row) for row in rows] == [(fresh.hex, None, None)]


async def test_without_retention_it_goes_at_the_next_round(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    gone = await deleted(db, redis, timedelta(0))
    kept = await deleted(db, redis, None)
    await purge(db, feed, settings.model_copy(update={"parley_retention_days": 0}))
    assert not any((await places_of(db, None, [gone])).values())
    assert all((await places_of(db, "alice", [kept])).values())


async def test_a_long_conversation_goes_in_steps(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    gone = await deleted(db, redis, 31 * DAY)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text(FILL), {"id": gone, "count": 2 * MESSAGES_AT_ONCE + 1})
    await purge(db, feed, settings)
    assert not any((await places_of(db, None, [gone])).values())


async def test_one_that_somebody_holds_is_passed_over_without_waiting(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    held, free = await deleted(db, redis, 32 * DAY), await deleted(db, redis, 31 * DAY)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("SELECT FROM conversations WHERE id = :id FOR UPDATE"), {"id": held})
        await purge(db, feed, settings)
    assert not any((await places_of(db, None, [free])).values())
    assert any((await places_of(db, None, [held])).values())
    await purge(db, feed, settings)
    assert not any((await places_of(db, None, [held])).values())


async def test_one_that_can_not_be_deleted_keeps_no_other_waiting(
    db: Database, redis: Redis, feed: Feed, settings: Settings
) -> None:
    stuck, free = await deleted(db, redis, 32 * DAY), await deleted(db, redis, 31 * DAY)
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("CREATE TABLE in_the_way (c uuid REFERENCES conversations)"))
        await tx.execute(text("INSERT INTO in_the_way VALUES (:id)"), {"id": stuck})
        await tx.execute(text("GRANT SELECT ON in_the_way TO PUBLIC"))
    with capture_logs() as logs:
        await purge(db, feed, settings)
    assert not any((await places_of(db, None, [free])).values())
    assert all((await places_of(db, "alice", [stuck])).values())
    assert [entry for entry in logs if entry["log_level"] == "warning"] == [
        {
            "event": "conversation_not_purged",
            "log_level": "warning",
            "conversation_id": str(stuck),
            "error": "IntegrityError",
        }
    ]


async def test_what_was_used_long_ago_is_forgotten(db: Database) -> None:
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text(
                "INSERT INTO token_usage (user_id, day, tokens) SELECT 'alice',"
                " CAST(timezone('UTC', now()) AS date) - n, 1 FROM unnest(ARRAY[0, 40, 41, 400]) n"
            )
        )
        await forget_old_usage(tx)
        rows = await tx.all(
            text("SELECT CAST(timezone('UTC', now()) AS date) - day AS ago FROM token_usage")
        )
    assert sorted(row.ago for row in rows) == [0, 40]
