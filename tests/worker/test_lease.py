"""Who holds a turn, and that nobody else can write."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE, LOGIN
from shared.db import Transaction
from shared.errors import LeaseLost
from shared.events import Turn
from shared.store.calls import new_call
from shared.store.claims import Claim, claim
from shared.store.endings import end_early
from shared.store.sequence import lock_conversation
from shared.store.tasks import create_task, list_tasks
from shared.store.waiting import conversations_to_run
from shared.tasks import TASK_TOOLS, CreateTask
from shared.tool import Tool
from tests.fixtures.interruptions import let_lease_run_out
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.recorder import Recorder
from worker.sweep import Sweep, renew
from worker.tools.tool import Toolbox
from worker.turn import Turns

pytestmark = pytest.mark.anyio


async def take(desk: Desk, worker: Turns, conversation_id: UUID) -> Claim | None:
    async with desk.db.transaction(EVERYONE) as tx:
        return await claim(tx, conversation_id, worker_id=worker.worker_id, model="test")


async def claimed(desk: Desk) -> tuple[UUID, Turns, Claim]:
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "say hello")
    worker = await desk.worker()
    taken = await take(desk, worker, conversation_id)
    assert taken is not None
    return conversation_id, worker, taken


def recorder_of(desk: Desk, turn: Turn) -> Recorder:
    return Recorder(desk.db, desk.feed, turn, owner="alice")


async def test_a_held_turn_is_not_claimed_by_another(desk: Desk) -> None:
    conversation_id, _, _ = await claimed(desk)
    assert await take(desk, await desk.worker(), conversation_id) is None


async def test_a_turn_whose_holder_fell_silent_is_claimed_as_a_new_attempt(desk: Desk) -> None:
    conversation_id, silent, first = await claimed(desk)
    await let_lease_run_out(desk.db, silent)
    second = await take(desk, await desk.worker(), conversation_id)
    assert second is not None
    assert (second.turn.id, second.turn.attempt) == (first.turn.id, 2)
    assert second.turn.seq > first.turn.seq


async def test_a_worker_whose_own_lease_ran_out_claims_nothing_until_it_is_renewed(
    desk: Desk,
) -> None:
    """What it claimed would be nobody's: others would take it, and a cancel end it, at once."""
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "say hello")
    late = await desk.worker()
    await let_lease_run_out(desk.db, late)
    assert await take(desk, late, conversation_id) is None
    await renew(desk.db, desk.settings, late)
    assert await take(desk, late, conversation_id) is not None


async def test_those_that_wait_move_up_when_the_first_begins(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    waiting = [await desk.say(conversation_id, f"say {number}") for number in range(4)]
    assert [turn.position for turn in waiting] == [1, 2, 3, 4]
    taken = await take(desk, await desk.worker(), conversation_id)
    assert taken is not None
    moved = [await desk.turn(turn.id) for turn in waiting]
    assert [turn.position for turn in moved] == [None, 1, 2, 3]
    assert [change.seq for change in taken.changes] == [turn.seq for turn in moved]
    assert [turn.seq - moved[0].seq for turn in moved] == [0, 1, 2, 3]


async def test_a_claim_waits_for_whoever_changes_the_conversation(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    first = await desk.say(conversation_id, "say first")
    second = await desk.say(conversation_id, "say second")
    worker = await desk.worker()

    async def waits() -> bool:
        async with desk.db.transaction(LOGIN) as tx:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(await tx.scalar(text(waiting)))

    async with desk.db.transaction(EVERYONE) as tx:
        await lock_conversation(tx, conversation_id)
        claiming = asyncio.create_task(take(desk, worker, conversation_id))
        await until(waits)
        await end_early(tx, first, "cancelled")
    taken = await claiming
    assert taken is not None
    assert taken.turn.id == second.id
    assert (await desk.turn(first.id)).status == "cancelled"


async def test_a_completed_turn_is_never_claimed_again(desk: Desk) -> None:
    turn, _ = await desk.ask("say hello")
    worker = await desk.worker()
    assert await take(desk, worker, turn.conversation_id) is None


@pytest.mark.parametrize("write", ["calls_made", "call_done", "call_failed", "complete", "fail"])
async def test_a_zombie_writes_nothing(desk: Desk, write: str) -> None:
    """The holder that was taken over wakes up and wants to go on."""
    conversation_id, silent, taken = await claimed(desk)
    zombie = recorder_of(desk, taken.turn)
    call = new_call("create_task", {"title": "twice"})
    if write.startswith("call_"):
        async with zombie.new_message():
            await zombie.calls_made([call], {})
    await let_lease_run_out(desk.db, silent)
    heir = await take(desk, await desk.worker(), conversation_id)
    assert heir is not None
    before = await desk.history(conversation_id)
    toolbox = Toolbox(TASK_TOOLS, owner="alice", recorder=zombie, timeout=5)
    writes = {
        "calls_made": lambda: zombie.calls_made([call], {}),
        "call_done": lambda: toolbox.call(call.id, "create_task", '{"title": "twice"}'),
        "call_failed": lambda: toolbox.call(call.id, "create_task", "{}"),
        "complete": lambda: zombie.complete({}),
        "fail": lambda: zombie.fail(None),  # pyright: ignore[reportArgumentType]
    }
    with pytest.raises(LeaseLost):
        async with zombie.new_message():
            await writes[write]()
    assert await desk.history(conversation_id) == before
    assert await desk.turn(taken.turn.id) == heir.turn
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await list_tasks(tx, owner="alice", limit=9) == []


async def test_a_finished_call_is_not_run_again_and_an_unfinished_one_is_run_once(
    desk: Desk,
) -> None:
    conversation_id, silent, taken = await claimed(desk)
    first = recorder_of(desk, taken.turn)
    calls = [new_call("create_task", {"title": title}) for title in ("done", "open")]
    async with first.new_message():
        await first.calls_made(calls, {})
    toolbox = Toolbox(TASK_TOOLS, owner="alice", recorder=first, timeout=5)
    await toolbox.call(calls[0].id, "create_task", '{"title": "done"}')
    await let_lease_run_out(desk.db, silent)
    assert await (await desk.worker()).run_head(conversation_id)
    async with desk.db.snapshot(EVERYONE) as tx:
        assert [t.title for t in await list_tasks(tx, owner="alice", limit=9)] == ["open", "done"]
    history = await desk.history(conversation_id)
    assert [m.role for m in history] == ["user", "assistant", "tool", "tool", "assistant"]
    assert {m.status for m in history} == {"completed"}
    turn = await desk.turn(taken.turn.id)
    assert (turn.status, turn.attempt) == ("completed", 2)


async def test_a_turn_that_keeps_dying_is_given_up_with_every_call_answered(desk: Desk) -> None:
    conversation_id, worker, taken = await claimed(desk)
    recorder = recorder_of(desk, taken.turn)
    async with recorder.new_message():
        await recorder.calls_made([new_call("create_task", {"title": "x"})], {})
    for _ in range(2):
        await let_lease_run_out(desk.db, worker)
        worker = await desk.worker()
        assert await take(desk, worker, conversation_id) is not None
    await let_lease_run_out(desk.db, worker)
    assert await (await desk.worker()).run_head(conversation_id)
    turn = await desk.turn(taken.turn.id)
    assert turn.status == "failed"
    assert turn.error is not None
    assert turn.error.code == "attempts_exhausted"
    history = await desk.history(conversation_id)
    assert [(m.role, m.status) for m in history] == [
        ("user", "completed"),
        ("assistant", "completed"),
        ("tool", "failed"),
    ]


async def test_a_heartbeat_drops_what_is_no_longer_ours(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "hang")
    worker = await desk.worker()
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(lambda: worker.held)
    await let_lease_run_out(desk.db, worker)
    heir = await take(desk, await desk.worker(), conversation_id)
    assert heir is not None
    await renew(desk.db, desk.settings, worker)
    async with asyncio.timeout(5):
        assert await running
    assert not worker.held
    assert (await desk.turn(heir.turn.id)).attempt == 2


async def test_a_turn_that_its_holder_does_not_run_is_given_back(desk: Desk) -> None:
    """The claim was committed and the answer lost, or giving back failed with Postgres away."""
    conversation_id, worker, _ = await claimed(desk)
    other = await desk.worker()
    await renew(desk.db, desk.settings, worker)
    assert await take(desk, other, conversation_id) is None

    async def given_back() -> bool:
        await renew(desk.db, desk.settings, worker)
        return await take(desk, other, conversation_id) is not None

    await until(given_back)


async def test_a_turn_that_is_being_run_is_kept_by_its_heartbeats(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "gated First then the rest")
    worker = await desk.worker()
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(lambda: worker.held)
    for _ in range(3):
        await renew(desk.db, desk.settings, worker)
    assert await take(desk, await desk.worker(), conversation_id) is None
    assert worker.held
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_sweep_runs_what_nobody_rang_for(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "say hello")
    settings = desk.settings.model_copy(update={"parley_sweep_seconds": 0.1})
    sweep = Sweep(desk.db, desk.feed, settings, await desk.worker())
    sweeping = asyncio.create_task(sweep.run())

    async def completed() -> bool:
        return (await desk.turn(turn.id)).status == "completed"

    await until(completed)
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    await until(lambda: not sweep.tasks)


async def test_the_sweep_leaves_alone_what_is_held_and_what_waits_behind_it(desk: Desk) -> None:
    conversation_id, _, _ = await claimed(desk)
    await desk.say(conversation_id, "say second")
    async with desk.db.transaction(EVERYONE) as tx:
        assert await conversations_to_run(tx, limit=10) == []


async def test_a_tool_that_hangs_is_stopped_and_has_had_no_effect(desk: Desk) -> None:
    async def hang(tx: Transaction, owner: str, arguments: CreateTask) -> None:
        await create_task(tx, owner=owner, title=arguments.title)
        await asyncio.Event().wait()

    _, _, taken = await claimed(desk)
    recorder = recorder_of(desk, taken.turn)
    call = new_call("hang", {"title": "x"})
    async with recorder.new_message():
        await recorder.calls_made([call], {})
    tools = [Tool("hang", "Never ends.", CreateTask, hang)]
    toolbox = Toolbox(tools, owner="alice", recorder=recorder, timeout=0.1)
    result = await toolbox.call(call.id, "hang", '{"title": "x"}')
    assert result["error"]["code"] == "tool_timeout"
    assert (await desk.history(taken.turn.conversation_id))[-1].status == "failed"
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await list_tasks(tx, owner="alice", limit=9) == []
