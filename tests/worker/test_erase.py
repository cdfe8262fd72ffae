"""`parley erase`: nothing of the one is left, nothing of the other is touched."""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from cli.erase import Target, erase
from cli.erase_redis import keys_of_owner, left_in_redis, names_owner
from cli.main import app
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.publisher import SILENCED, live_key
from shared.redis import Redis, end
from shared.settings import Settings
from shared.store.proof import rows_of
from tests.fixtures.belongings import fill, places_of
from tests.fixtures.interruptions import Rig, let_lease_run_out
from tests.fixtures.settings import make_settings
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.steps import Step
from worker.sweep import heartbeat
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
    assert await redis.get(live_key(conversation_id)) is None


async def test_a_frozen_worker_finds_nothing_to_write_to_when_it_wakes(
    desk: Desk, redis: Redis, rigged: Rig
) -> None:
    conversation_id = await desk.conversation()
    worker = await desk.worker()
    rigged.freeze(Step.MODEL_FIRST_TEXT)
    await desk.say(conversation_id, "say What must not come back")
    running = asyncio.create_task(worker.run_all(conversation_id))
    await rigged.reached.wait()
    await let_lease_run_out(desk.db, worker)
    receipt = await erase(desk.settings, Target(user="alice"))
    assert receipt.clean, receipt
    rigged.released.set()
    await running
    assert not any((await places_of(desk.db, "alice", [conversation_id])).values())
    assert await redis.get(live_key(conversation_id)) == SILENCED
    assert await desk.feed.live_text(conversation_id) is None


async def test_what_is_left_is_told_whatever_table_or_key_it_is_in(
    db: Database, redis: Redis, settings: Settings
) -> None:
    async with db.transaction(LOGIN) as tx:
        await tx.execute(text("CREATE TABLE added_later (user_id text)"))
        await tx.execute(text("INSERT INTO added_later VALUES ('alice'), ('bob')"))
    await redis.set("parley:added:later:alice", "1")
    conversation_id = await fill(db, redis, "alice")
    await redis.set(f"parley:notes:{conversation_id}", "1")
    cli_erase = pytest.MonkeyPatch()
    cli_erase.setattr("cli.erase.CLEAN_SECONDS", 0.0)
    cli_erase.setattr("cli.erase.STOP_SECONDS", 0.0)
    receipt = await erase(settings, Target(user="alice"))
    cli_erase.undo()
    assert not receipt.clean
    assert receipt.residue_postgres == {"added_later": 1}
    assert receipt.residue_redis == {"parley:added:later": 1, "parley:notes": 1}


async def test_without_redis_the_rows_go_and_the_receipt_says_what_is_not_known(
    db: Database, redis: Redis, settings: Settings, database_url: str
) -> None:
    await fill(db, redis, "alice")
    receipt = await erase(make_settings(database_url, "redis://127.0.0.1:1"), Target(user="alice"))
    assert not receipt.clean
    assert receipt.problems
    assert not await rows(db, "alice")
    assert (await erase(settings, Target(user="alice"))).residue_redis == {}


def test_a_key_belongs_to_the_owner_it_is_named_after_and_to_no_other() -> None:
    for key in keys_of_owner("alice").values():
        assert names_owner(key, "alice")
        assert not names_owner(key, "lice")
    for key in keys_of_owner("x:alice").values():
        assert not names_owner(key, "alice")
    assert names_owner("parley:new:alice", "alice")
    assert not names_owner("parley:new:malice", "alice")


def test_the_command_asks_prints_a_receipt_and_exits_by_it(
    settings: Settings, database_url: str, redis_url: str
) -> None:
    async def prepare() -> UUID:
        from shared.redis import connect_redis

        db, redis = Database(settings), connect_redis(settings)
        conversation_id = await fill(db, redis, "alice")
        await redis.aclose(close_connection_pool=True)
        await db.close()
        return conversation_id

    conversation_id = asyncio.run(prepare())
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    run = CliRunner(env=environment).invoke
    for arguments in ([], ["--user", "a", "--conversation", "b"], ["--conversation", "b"]):
        assert run(app, ["erase", *arguments, "--yes"]).exit_code == 1
    refused = run(app, ["erase", "--user", "alice"], input="n\n")
    assert refused.exit_code == 1
    done = run(app, ["erase", "--conversation", str(conversation_id), "--yes", "--json"])
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert receipt["postgres"]["conversations"] == 1
    assert receipt["residue_postgres"] == receipt["residue_redis"] == {}
    assert receipt["not_touched"] == ["user_sessions"]
    shown = run(app, ["erase", "--user", "alice"], input="y\n")
    assert shown.exit_code == 0, shown.output
    assert "Left: 0" in shown.output
    assert "user_sessions" in shown.output
    assert "tasks" in shown.output
