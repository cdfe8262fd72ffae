"""Leases are the database's affair: a worker's own clock may say what it likes."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.events import Turn
from tests.fixtures.processes import Starter
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

HOUR = 3600
LEASE = 1.0


async def running_for(desk: Desk, asked: Turn, seconds: float) -> bool:
    """By the database's clock."""
    turn = await desk.turn(asked.id)
    if turn.started_at is None:
        return False
    async with desk.db.snapshot(EVERYONE) as tx:
        now = await tx.scalar(text("SELECT clock_timestamp()"))
    return (now - turn.started_at).total_seconds() > seconds


@pytest.mark.parametrize("off_by", [HOUR, -HOUR])
async def test_a_worker_with_a_wrong_clock_holds_its_turn_and_loses_it_when_it_dies(
    desk: Desk, starter: Starter, stand_in: StandIn, off_by: int
) -> None:
    quick = {"parley_lease_seconds": LEASE, "parley_sweep_seconds": 0.2}
    settings = desk.settings.model_copy(update=quick)
    conversation_id = await desk.conversation()
    asked = await desk.say(conversation_id, "gated First then the rest")
    wrong = starter.start("tests.faults.shifted_worker", settings, CLOCK_OFF_BY=str(off_by))
    await until(partial(running_for, desk, asked, 2.5 * LEASE), seconds=30)
    right = await desk.worker()
    assert not await right.run_head(conversation_id)
    assert (await desk.turn(asked.id)).attempt == 1
    await wrong.kill()
    stand_in.open_gate()
    await until(lambda: right.run_head(conversation_id))
    turn = await desk.turn(asked.id)
    assert (turn.status, turn.attempt) == ("completed", 2)
    assert [m.content for m in await desk.history(conversation_id)][1:] == ["First then the rest"]
