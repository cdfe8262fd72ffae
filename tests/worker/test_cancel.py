"""A turn is cancelled before, during and after: it ends once, and its history stays whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from shared.connection import EVERYONE
from shared.events import Turn
from shared.store.tasks import list_tasks
from shared.store.workers import leave
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.steps import Step
from worker.sweep import heartbeat, renew
from worker.turn import Turns

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def streaming(desk: Desk, said: str) -> AsyncGenerator[tuple[UUID, Turn, Turns]]:
    """A turn whose first words are out; at the end its worker must have let go of it."""
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, said)
    worker = await desk.worker(parley_lease_seconds=60)
    running = asyncio.create_task(worker.run_head(conversation_id))

    async def has_text() -> bool:
        live = await desk.feed.live_text(conversation_id)
        return live is not None and bool(live.text)

    await until(has_text)
    yield conversation_id, turn, worker
    await running
    assert not worker.held


async def beat(desk: Desk, worker: Turns) -> None:
    await renew(desk.db, desk.settings, worker)


async def test_the_text_so_far_is_kept_and_marked(desk: Desk) -> None:
    async with streaming(desk, "stall Half an answer") as (conversation_id, turn, worker):
        assert await desk.cancel(turn.id) == worker.worker_id
        await beat(desk, worker)
    ended = await desk.turn(turn.id)
    assert (ended.status, ended.error) == ("cancelled", None)
    last = (await desk.history(conversation_id))[-1]
    assert (last.role, last.content, last.status) == ("assistant", "Half an answer", "cancelled")


async def test_a_nudge_reaches_the_worker_long_before_its_next_heartbeat(desk: Desk) -> None:
    async with streaming(desk, "stall Half") as (_, turn, worker):
        slow = desk.settings.model_copy(update={"parley_lease_seconds": 600})
        beating = asyncio.create_task(heartbeat(desk.db, desk.feed, slow, worker))
        holder = await desk.cancel(turn.id)
        assert holder is not None

        async def cancelled() -> bool:
            await desk.feed.nudge(holder)
            return (await desk.turn(turn.id)).status == "cancelled"

        await until(cancelled)
        beating.cancel()


async def test_a_waiting_turn_is_cancelled_at_once_and_the_others_move_up(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    waiting = [await desk.say(conversation_id, f"say {number}") for number in range(4)]
    assert await desk.cancel(waiting[1].id) is None
    found = [await desk.turn(turn.id) for turn in waiting]
    assert [turn.status for turn in found] == ["queued", "cancelled", "queued", "queued"]
    assert [turn.position for turn in found] == [1, None, 2, 3]
    assert [turn.seq - found[1].seq for turn in found[2:]] == [1, 2]


async def test_a_cancelled_call_has_no_effect_and_a_result_that_says_so(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call create_task {"title": "never"}')
    worker = await desk.worker()
    rigged.freeze(at=Step.CALLS_TOLD)
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await desk.cancel(turn.id)
    rigged.released.set()
    await running
    assert (await desk.turn(turn.id)).status == "cancelled"
    history = await desk.history(conversation_id)
    assert [(m.role, m.status) for m in history[1:]] == [
        ("assistant", "completed"),
        ("tool", "cancelled"),
    ]
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await list_tasks(tx, owner="alice", limit=9) == []
    await desk.say(conversation_id, "say fine")
    await worker.run_all(conversation_id)
    roles = [m["role"] for m in stand_in.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]


@pytest.mark.parametrize(
    "step",
    [
        Step.CLAIM_COMMITTED,
        Step.CLAIM_TOLD,
        Step.MODEL_ASKED,
        Step.MODEL_ANSWERED,
        Step.CALLS_COMMITTED,
        Step.CALLS_TOLD,
        Step.RESULT_COMMITTED,
        Step.RESULT_TOLD,
    ],
)
async def test_once_asked_for_it_is_never_completed(desk: Desk, rigged: Rig, step: Step) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call create_task {"title": "maybe"}')
    worker = await desk.worker()
    rigged.freeze(at=step)
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(rigged.reached.is_set)
    assert await desk.cancel(turn.id) == worker.worker_id
    rigged.released.set()
    await running
    ended = await desk.turn(turn.id)
    assert ended.status == "cancelled"
    calls = [call for m in await desk.history(conversation_id) for call in m.tool_calls or ()]
    assert all(call.status in {"completed", "cancelled"} for call in calls)


async def test_of_cancel_and_completion_exactly_one_wins(desk: Desk) -> None:
    """Cancelled ever later, from its beginning to well after its usual end."""
    worker = await desk.worker()
    clock = asyncio.get_running_loop().time

    async def run() -> tuple[UUID, Turn, asyncio.Task[None]]:
        conversation_id = await desk.conversation()
        turn = await desk.say(conversation_id, "say one two three four five")
        return conversation_id, turn, asyncio.create_task(worker.run_all(conversation_id))

    began = clock()
    _, _, first = await run()
    await first
    usual = clock() - began
    ends: set[str] = set()
    for number in range(40):
        conversation_id, turn, running = await run()
        await asyncio.sleep(usual * number / 20)
        holder = await desk.cancel(turn.id)
        await beat(desk, worker)
        await running
        ended = await desk.turn(turn.id)
        assert ended.status in {"completed", "cancelled"}
        assert holder is None or ended.status == "cancelled"
        answers = [m for m in await desk.history(conversation_id) if m.role == "assistant"]
        assert [m.status for m in answers] in ([], [ended.status])
        ends.add(ended.status)
    assert ends == {"completed", "cancelled"}


async def test_a_turn_whose_worker_died_is_cancelled_by_the_next_one(
    desk: Desk, rigged: Rig
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "stall Half an answer")
    dead, heir = await desk.worker(), await desk.worker()
    running = asyncio.create_task(dead.run_head(conversation_id))

    async def has_text() -> bool:
        return await desk.feed.live_text(conversation_id) is not None

    await until(has_text)
    assert await desk.cancel(turn.id) == dead.worker_id
    await let_lease_run_out(desk.db, dead)
    await heir.run_all(conversation_id)
    ended = await desk.turn(turn.id)
    assert (ended.status, ended.attempt) == ("cancelled", 1)
    assert (await desk.history(conversation_id))[-1].content == "Half an answer"
    dead.lose(dead.held)
    await running


async def test_a_turn_that_nobody_holds_is_cancelled_at_once(desk: Desk, rigged: Rig) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call create_task {"title": "never"}')
    dead = await desk.worker()
    rigged.die(at=Step.CALLS_TOLD)
    with pytest.raises(Died):
        await dead.run_head(conversation_id)
    async with desk.db.transaction(EVERYONE) as tx:
        await leave(tx, dead.worker_id)
    assert await desk.cancel(turn.id) is None
    assert (await desk.turn(turn.id)).status == "cancelled"
    assert [m.status for m in await desk.history(conversation_id)][-1] == "cancelled"


async def test_a_cancelled_turn_can_be_retried_and_goes_on_after_its_last_step(
    desk: Desk, stand_in: StandIn, rigged: Rig
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call create_task {"title": "once"}')
    worker = await desk.worker()
    rigged.freeze(at=Step.RESULT_TOLD)
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await desk.cancel(turn.id)
    rigged.released.set()
    await running
    assert (await desk.turn(turn.id)).status == "cancelled"
    await desk.retry(turn.id)
    await worker.run_all(conversation_id)
    ended = await desk.turn(turn.id)
    assert (ended.status, ended.attempt, ended.error) == ("completed", 2, None)
    async with desk.db.snapshot(EVERYONE) as tx:
        assert len(await list_tasks(tx, owner="alice", limit=9)) == 1
    assert (await desk.history(conversation_id))[-1].content.startswith("Done: ")


async def test_a_failed_turn_that_is_retried_does_not_hear_what_it_began_to_say(
    desk: Desk, stand_in: StandIn
) -> None:
    turn, _ = await desk.ask("cut Half an answer", parley_model_retries=0)
    assert turn.status == "failed"
    await desk.retry(turn.id)
    await (await desk.worker(parley_model_retries=0)).run_all(turn.conversation_id)
    assert [m["role"] for m in stand_in.requests[-1]["messages"]] == ["system", "user"]
