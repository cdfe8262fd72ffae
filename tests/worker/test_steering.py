"""What the user says to a turn at work is heard before the model is asked again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from shared.connection import EVERYONE
from shared.ids import new_id
from shared.store.messages import add_message
from shared.store.sequence import take_seqs
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.steps import Step

pytestmark = pytest.mark.anyio


async def steer(desk: Desk, conversation_id: UUID, turn_id: UUID, said: str) -> None:
    async with desk.db.transaction(EVERYONE) as tx:
        seq = await take_seqs(tx, conversation_id, 1, messages=1, preview=said)
        await add_message(
            tx,
            conversation_id=conversation_id,
            turn_id=turn_id,
            seq=seq,
            role="user",
            content=said,
            message_id=new_id(),
        )


def heard(stand_in: StandIn) -> list[str]:
    return [f"{m['role']} {m.get('content')}" for m in stand_in.requests[-1]["messages"][1:]]


async def test_between_two_model_calls(desk: Desk, rigged: Rig, stand_in: StandIn) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call create_task {"title": "first"}')
    worker = await desk.worker()
    rigged.freeze(at=Step.CALLS_TOLD)
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await steer(desk, conversation_id, turn.id, "say and now this")
    rigged.released.set()
    await running
    assert heard(stand_in)[-1] == "user say and now this"
    assert [entry.split()[0] for entry in heard(stand_in)] == [
        *("user", "assistant", "tool", "user")
    ]
    ended = await desk.turn(turn.id)
    assert ended.status == "completed"
    assert (await desk.history(conversation_id))[-1].content == "and now this"


async def test_behind_the_last_answer_it_gets_an_answer_of_its_own(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "say the first answer")
    worker = await desk.worker()
    rigged.freeze(at=Step.MODEL_ANSWERED)
    running = asyncio.create_task(worker.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await steer(desk, conversation_id, turn.id, "say the second answer")
    rigged.released.set()
    await running
    assert heard(stand_in) == [
        "user say the first answer",
        "assistant the first answer",
        "user say the second answer",
    ]
    shown = [(m.role, m.content) for m in await desk.history(conversation_id)]
    assert shown[1:] == [
        ("user", "say the second answer"),
        ("assistant", "the first answer"),
        ("assistant", "the second answer"),
    ]
    ended = await desk.turn(turn.id)
    assert (ended.status, ended.attempt) == ("completed", 1)
    assert ended.usage is not None
    assert ended.usage["model_calls"] == 2


async def test_it_is_heard_by_the_next_worker_if_the_first_one_dies(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "say the first answer")
    first, second = await desk.worker(), await desk.worker()
    rigged.freeze(at=Step.MODEL_ANSWERED)
    running = asyncio.create_task(first.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await steer(desk, conversation_id, turn.id, "say the second answer")
    rigged.die(at=Step.END_COMMITTED)
    rigged.released.set()
    with pytest.raises(Died):
        await running
    await let_lease_run_out(desk.db, first)
    await second.run_all(conversation_id)
    assert heard(stand_in)[-1] == "user say the second answer"
    answers = [m.content for m in await desk.history(conversation_id) if m.role == "assistant"]
    assert answers == ["the first answer", "the second answer"]
