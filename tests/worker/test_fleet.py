"""How the service as a whole is doing: what waits, for how long, and who is there to do it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.ids import first_id_of, new_id
from shared.store.fleet import Fleet, fleet, recent_turns, worker_states
from tests.fixtures.turns import Desk

pytestmark = pytest.mark.anyio


async def look(db: Database, **limits: Any) -> Fleet:
    async with db.snapshot(EVERYONE) as tx:
        return await fleet(tx, **limits)


async def change(db: Database, statement: str, **values: Any) -> None:
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text(statement), values)


async def age(db: Database, turn_id: UUID, seconds: int) -> None:
    ago = "queued_at - make_interval(secs => :seconds)"
    await change(
        db,
        f"UPDATE turns SET queued_at = {ago}, created_at = {ago} WHERE id = :id",
        id=turn_id,
        seconds=seconds,
    )


@pytest.fixture
async def waiting(desk: Desk) -> tuple[UUID, UUID]:
    """A conversation whose first turn has waited for a minute and whose second for an hour."""
    conversation_id = await desk.conversation()
    first = await desk.say(conversation_id, "first")
    second = await desk.say(conversation_id, "second")
    await age(desk.db, first.id, 60)
    await age(desk.db, second.id, 3600)
    return first.id, second.id


async def test_nothing_waits(desk: Desk) -> None:
    assert await look(desk.db) == Fleet(0, 0, 0, 0.0, 0)


async def test_the_longest_wait_is_of_a_turn_that_could_run(
    desk: Desk, waiting: tuple[UUID, UUID]
) -> None:
    """And not of one that waits for another."""
    found = await look(desk.db)
    assert (found.queued, found.running, found.workers) == (2, 0, 0)
    assert 60 <= found.longest_wait_seconds < 90


async def test_who_waited_behind_another_turn_waits_from_its_end_on(
    desk: Desk, waiting: tuple[UUID, UUID]
) -> None:
    """Long queues of single conversations are not a lack of workers."""
    first, second = waiting
    await change(
        desk.db,
        "UPDATE turns SET status = 'completed', position = NULL,"
        " finished_at = clock_timestamp() - interval '20 seconds' WHERE id = :id",
        id=first,
    )
    await change(desk.db, "UPDATE turns SET position = 1 WHERE id = :id", id=second)
    found = await look(desk.db)
    assert found.queued == 1
    assert 20 <= found.longest_wait_seconds < 50


async def test_who_waits_for_their_own_limit_does_not_wait_for_us(
    desk: Desk, waiting: tuple[UUID, UUID]
) -> None:
    busy = await desk.conversation()
    turn = await desk.say(busy, "runs")
    worker = await desk.worker()
    await change(
        desk.db,
        "UPDATE turns SET status = 'running', position = NULL, lease_owner = :worker,"
        " started_at = clock_timestamp() WHERE id = :id",
        worker=worker.worker_id,
        id=turn.id,
    )
    assert (await look(desk.db, running_limit=1)).longest_wait_seconds == 0
    assert (await look(desk.db, running_limit=2)).longest_wait_seconds >= 60


async def test_a_turn_whose_worker_is_gone_waits_from_then_on(desk: Desk) -> None:
    turn = await desk.say(await desk.conversation(), "runs")
    worker = await desk.worker()
    await change(
        desk.db,
        "UPDATE turns SET status = 'running', position = NULL, lease_owner = :worker,"
        " started_at = clock_timestamp() - interval '1 hour' WHERE id = :id",
        worker=worker.worker_id,
        id=turn.id,
    )
    alive = await look(desk.db)
    assert (alive.workers, alive.running, alive.longest_wait_seconds) == (1, 1, 0)
    await change(
        desk.db, "UPDATE workers SET lease_until = clock_timestamp() - interval '20 seconds'"
    )
    gone = await look(desk.db)
    assert gone.workers == 0
    assert 20 <= gone.longest_wait_seconds < 50
    async with desk.db.snapshot(EVERYONE) as tx:
        (state,) = await worker_states(tx)
    assert (state.id, state.turns) == (worker.worker_id, 1)
    assert -50 < state.lease_seconds <= -20


async def test_lately_is_told_by_the_ids(desk: Desk) -> None:
    turn, _ = await desk.ask("say hello")
    within = timedelta(minutes=1)
    async with desk.db.snapshot(EVERYONE) as tx:
        recent = await recent_turns(tx, within=within)
        before = await recent_turns(tx, within=-within)
    assert recent.by_status == {"completed": 1}
    assert recent.interrupted == 0
    assert before.by_status == {}
    moment = datetime.now(UTC)
    assert first_id_of(turn.created_at - within) < turn.id < first_id_of(moment + within)
    assert first_id_of(moment - timedelta(seconds=1)) < new_id()
