"""`parley erase`: nothing of the one is left, nothing of the other is touched."""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cli.erase import Target, erase
from cli.erase_redis import keys_of_owner, left_in_redis
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.events import Turn
from shared.publisher import SILENCED, live_key
from shared.redis import Redis, end
from shared.settings import Settings
from shared.store.proof import rows_of
from shared.store.residue import columns_to_search, not_ours
from tests.fixtures.belongings import fill, places_of
from tests.fixtures.interruptions import Rig, let_lease_run_out
from tests.fixtures.settings import make_settings
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.steps import Step
from worker.sweep import heartbeat, renew
from worker.turn import Turns

pytestmark = pytest.mark.anyio


async def rows(db: Database, owner: str) -> list[str]:
    async with db.snapshot(EVERYONE) as tx:
        return await rows_of(tx, owner)


async def in_redis(redis: Redis) -> dict[str, object]:
    """Every key and what it holds."""
    keys: Sequence[bytes] = sorted(await redis.keys("*"))
    return {
        key.decode(): await redis.zrange(key, 0, -1)
        if await redis.type(key) == b"zset"
        else await redis.get(key)
        for key in keys
    }


async def test_the_belongings_of_the_tests_are_in_every_table_there_is(
    db: Database, redis: Redis
) -> None:
    """A table that is added later has to be added to them, and to the erasure."""
    conversation_id = await fill(db, redis, "alice")
    places = await places_of(db, "alice", [conversation_id])
    assert len(places) >= 10
    assert all(places.values()), places


async def test_nothing_of_the_user_is_left_and_nothing_of_another_is_touched(
    db: Database, redis: Redis, settings: Settings
) -> None:
    await fill(db, redis, "bob")
    await fill(db, redis, "x:alice")
    others = [await rows(db, name) for name in ("bob", "x:alice")]
    theirs = await in_redis(redis)
    mine = [await fill(db, redis, "alice") for _ in range(2)]
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text("UPDATE conversations SET deleted_at = now() - interval '1 day' WHERE id = :id"),
            {"id": mine[0]},
        )
    receipt = await erase(settings, Target(user="alice"))
    assert receipt.clean
    assert receipt.postgres == {
        "approvals": 2,
        "browser_sessions": 2,
        "conversations": 2,
        "feedback": 2,
        "idempotency_keys": 3,
        "messages": 2,
        "stream_tickets": 2,
        "tasks": 2,
        "token_usage": 1,
        "turns": 2,
    }
    assert receipt.redis == dict.fromkeys(keys_of_owner(""), 1) | {"live_text": 2, "rings": 2}
    assert not any((await places_of(db, "alice", mine)).values())
    assert await in_redis(redis) == theirs
    assert [await rows(db, name) for name in ("bob", "x:alice")] == others


async def test_of_a_conversation_only_what_belongs_to_it_goes(
    db: Database, redis: Redis, settings: Settings
) -> None:
    gone, kept = [await fill(db, redis, "alice") for _ in range(2)]
    receipt = await erase(settings, Target(conversation=gone))
    assert receipt.clean
    assert receipt.postgres["conversations"] == receipt.postgres["messages"] == 1
    assert not any((await places_of(db, None, [gone])).values())
    assert not await left_in_redis(redis, owner=None, ids=[gone])
    left = await places_of(db, "alice", [kept])
    assert all(left.values()), left
    assert left["tasks"] == 2
    assert await redis.zrange(keys_of_owner("alice")["parked"], 0, -1) == [str(kept).encode()]


@asynccontextmanager
async def beating(desk: Desk, worker: Turns) -> AsyncGenerator[None]:
    settings = desk.settings.model_copy(update={"parley_lease_seconds": 30.0})
    task = asyncio.create_task(heartbeat(desk.db, desk.feed, settings, worker))
    yield
    await end(task)


async def streaming(desk: Desk, worker: Turns, conversation_id: UUID) -> asyncio.Task[None]:
    """The worker at a turn whose first word is out and whose second will not come."""
    await desk.say(conversation_id, "gated First and then the rest")
    running = asyncio.create_task(worker.run_all(conversation_id))
    await until(lambda: desk.feed.live_text(conversation_id))
    return running


async def test_a_worker_that_streams_is_stopped_first_and_writes_nothing_more(
    desk: Desk, redis: Redis, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    waiting = await desk.conversation()
    worker = await desk.worker()
    async with beating(desk, worker):
        running = await streaming(desk, worker, conversation_id)
        await desk.say(waiting, "say something")
        receipt = await erase(desk.settings, Target(user="alice"))
        assert receipt.clean, receipt
        assert receipt.seconds < 8, "the heartbeat alone would take 10 s"
        await running
    assert stand_in.answering == 0
    assert not any((await places_of(desk.db, "alice", [conversation_id])).values())
    assert not await left_in_redis(redis, owner="alice", ids=[conversation_id, waiting])
    assert await redis.get(live_key(conversation_id)) == SILENCED


async def frozen_at_work(desk: Desk, rigged: Rig) -> tuple[Turns, Turn, asyncio.Task[None]]:
    """A worker that stands still with the first word of a turn in its hand."""
    worker = await desk.worker()
    conversation_id = await desk.conversation()
    rigged.freeze(Step.MODEL_FIRST_TEXT)
    turn = await desk.say(conversation_id, "say What must not come back")
    running = asyncio.create_task(worker.run_all(conversation_id))
    await rigged.reached.wait()
    return worker, turn, running


async def test_a_frozen_worker_finds_nothing_to_write_to_when_it_wakes(
    desk: Desk, redis: Redis, rigged: Rig
) -> None:
    worker, turn, running = await frozen_at_work(desk, rigged)
    await let_lease_run_out(desk.db, worker)
    receipt = await erase(desk.settings, Target(user="alice"))
    assert receipt.clean, receipt
    rigged.released.set()
    await running
    assert not any((await places_of(desk.db, "alice", [turn.conversation_id])).values())
    assert await redis.get(live_key(turn.conversation_id)) == SILENCED
    assert await desk.feed.live_text(turn.conversation_id) is None


async def test_a_worker_that_freezes_with_its_lease_writes_nothing_back_once_that_has_run_out(
    desk: Desk, redis: Redis, rigged: Rig
) -> None:
    worker, turn, running = await frozen_at_work(desk, rigged)
    settings = desk.settings.model_copy(update={"parley_lease_seconds": 1.5})
    await renew(desk.db, settings, worker)
    receipt = await erase(desk.settings, Target(user="alice"))
    assert receipt.clean, receipt
    assert 1 < receipt.seconds < 8, "it waited for the lease to run out"
    rigged.released.set()
    await running
    assert await redis.get(live_key(turn.conversation_id)) == SILENCED


async def test_a_frozen_worker_writes_nothing_back_of_a_turn_that_another_has_ended(
    desk: Desk, redis: Redis, rigged: Rig
) -> None:
    frozen, turn, running = await frozen_at_work(desk, rigged)
    await let_lease_run_out(desk.db, frozen)
    await (await desk.worker()).run_all(turn.conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    assert (await erase(desk.settings, Target(user="alice"))).clean
    rigged.released.set()
    await running
    assert await redis.get(live_key(turn.conversation_id)) == SILENCED


async def test_what_is_left_is_told_whatever_table_or_key_it_is_in(
    db: Database, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("CREATE TABLE added_later (user_id text)"))
        await tx.execute(text("INSERT INTO added_later VALUES ('alice'), ('bob')"))
    await redis.set("parley:added:later:alice", "1")
    conversation_id = await fill(db, redis, "alice")
    await redis.set(f"parley:notes:{conversation_id}", "1")
    monkeypatch.setattr("cli.erase.CLEAN_SECONDS", 0.0)
    monkeypatch.setattr("cli.erase.STOP_SECONDS", 0.0)
    receipt = await erase(settings, Target(user="alice"))
    assert not receipt.clean
    assert receipt.residue_postgres == {"added_later": 1}
    assert receipt.residue_redis == {"parley:added:later": 1, "parley:notes": 1}


async def test_without_redis_no_row_goes_and_the_receipt_says_so(
    db: Database, redis: Redis, settings: Settings, database_url: str
) -> None:
    """They alone tell which keys there are."""
    conversation_id = await fill(db, redis, "alice")
    before = await rows(db, "alice")
    lonely = make_settings(database_url, "redis://127.0.0.1:1")
    receipt = await erase(lonely, Target(user="alice"))
    assert not receipt.clean
    assert receipt.postgres == {}
    assert any("Nothing was erased" in problem for problem in receipt.problems)
    assert receipt.residue_postgres["messages"] == 1
    assert await rows(db, "alice") == before
    assert (await erase(settings, Target(user="alice"))).clean
    assert not await left_in_redis(redis, owner="alice", ids=[conversation_id])


async def test_an_erasure_that_broke_off_is_simply_run_again(
    db: Database, redis: Redis, settings: Settings
) -> None:
    conversation_id = await fill(db, redis, "alice")
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("CREATE TABLE in_the_way (task uuid REFERENCES tasks)"))
        await tx.execute(text("INSERT INTO in_the_way SELECT id FROM tasks"))
    with pytest.raises(DBAPIError):
        await erase(settings, Target(user="alice"))
    assert not (await places_of(db, None, [conversation_id]))["conversations"]
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("DROP TABLE in_the_way"))
    assert (await erase(settings, Target(user="alice"))).clean
    assert not await left_in_redis(redis, owner="alice", ids=[conversation_id])


async def test_the_table_of_sessions_is_left_alone_whatever_its_name(
    db: Database, redis: Redis, settings: Settings
) -> None:
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("CREATE TABLE logins (user_id text)"))
        await tx.execute(text("INSERT INTO logins VALUES ('alice')"))
    for name in ("logins", "public.logins"):
        named = settings.model_copy(update={"parley_sessions_table": name})
        receipt = await erase(named, Target(user="alice"))
        assert receipt.clean, receipt
        assert receipt.not_touched == ("user_sessions", name)
    elsewhere = settings.model_copy(update={"parley_sessions_table": "elsewhere.logins"})
    async with db.snapshot(EVERYONE) as tx:
        columns = await columns_to_search(tx, left_out=not_ours(elsewhere))
    assert "logins" in {column.name for column in columns}
