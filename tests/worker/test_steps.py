"""A worker dies or freezes at every step of a turn, and the turn is completed once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.errors import RequestError
from shared.store.tasks import list_tasks
from tests.fixtures.interruptions import Died, Rig, end_idle_transactions, let_lease_run_out
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.steps import Step

pytestmark = pytest.mark.anyio

ASKED = 'call create_task {"title": "once"}\ncall create_task {"title": "only once"}'
ENDED = {Step.END_COMMITTED, Step.END_TOLD}


async def rows(desk: Desk, conversation_id: UUID) -> list[Any]:
    """Everything the conversation is made of."""
    async with desk.db.snapshot(EVERYONE) as tx:
        return [
            (await tx.all(text(query), {"id": conversation_id}))
            for query in (
                "SELECT * FROM conversations WHERE id = :id",
                "SELECT * FROM turns WHERE conversation_id = :id ORDER BY seq",
                "SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq",
                "SELECT * FROM tasks ORDER BY id",
            )
        ]


async def expect_done_once(desk: Desk, conversation_id: UUID, turn_id: UUID) -> None:
    turn = await desk.turn(turn_id)
    assert turn.status == "completed", turn.error
    history = await desk.history(conversation_id)
    assert [m.role for m in history] == ["user", "assistant", "tool", "tool", "assistant"]
    assert {m.status for m in history} == {"completed"}
    assert [call.status for call in history[1].tool_calls or ()] == ["completed", "completed"]
    assert history[-1].content.startswith("Done: ")
    async with desk.db.snapshot(EVERYONE) as tx:
        tasks = await list_tasks(tx, owner="alice", limit=9)
    assert sorted(task.title for task in tasks) == ["once", "only once"]


@pytest.mark.parametrize("step", list(Step))
async def test_a_worker_dies_at_a_step(desk: Desk, rigged: Rig, step: Step) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, ASKED)
    first, second = await desk.worker(), await desk.worker()
    rigged.die(at=step)
    with pytest.raises(Died):
        await first.run_head(conversation_id)
    assert not first.held
    await let_lease_run_out(desk.db, first)
    await second.run_all(conversation_id)
    await expect_done_once(desk, conversation_id, turn.id)


@pytest.mark.parametrize("step", list(Step))
async def test_a_zombie_changes_nothing(desk: Desk, rigged: Rig, step: Step) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, ASKED)
    first, second = await desk.worker(), await desk.worker()
    rigged.freeze(at=step)
    zombie = asyncio.create_task(first.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await let_lease_run_out(desk.db, first)
    await end_idle_transactions(desk.db)
    await second.run_all(conversation_id)
    await expect_done_once(desk, conversation_id, turn.id)
    before = await rows(desk, conversation_id)
    rigged.released.set()
    with suppress(RequestError):  # its connection is gone
        await zombie
    assert await rows(desk, conversation_id) == before


@pytest.mark.parametrize("step", [step for step in Step if step not in ENDED])
async def test_a_zombie_changes_nothing_while_its_successor_is_at_work(
    desk: Desk, rigged: Rig, step: Step
) -> None:
    """Then the turn runs, and only the attempt tells the two apart."""
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, ASKED)
    first, second = await desk.worker(), await desk.worker()
    rigged.freeze(at=step)
    zombie = asyncio.create_task(first.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await let_lease_run_out(desk.db, first)
    await end_idle_transactions(desk.db)
    successor_rig = Rig()
    successor_rig.freeze(at=Step.MODEL_ANSWERED)
    successor = asyncio.create_task(second.run_all(conversation_id))
    await until(successor_rig.reached.is_set)
    before = await rows(desk, conversation_id)
    rigged.released.set()
    with suppress(RequestError):  # its connection is gone
        await zombie
    assert await rows(desk, conversation_id) == before
    successor_rig.released.set()
    await successor
    await expect_done_once(desk, conversation_id, turn.id)


async def test_what_a_later_attempt_reads_is_what_the_first_one_wrote(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, ASKED)
    first, second = await desk.worker(), await desk.worker()
    rigged.die(at=Step.RESULT_COMMITTED)
    with suppress(Died):
        await first.run_head(conversation_id)
    await let_lease_run_out(desk.db, first)
    await second.run_all(conversation_id)
    asked = stand_in.requests[-1]["messages"][1:]
    assert [m["role"] for m in asked] == ["user", "assistant", "tool", "tool"]
    assert len(stand_in.requests) == 2
