"""What an owner's turns use of the models in a day is counted once, and has an end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.store.usage import keep_usage, tokens_today
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from worker.steps import Step

pytestmark = pytest.mark.anyio

CALL = 'call create_task {"title": "x"}\nthen say done'


async def used_today(desk: Desk, owner: str = "alice") -> int:
    async with desk.db.snapshot(owner) as tx:
        return await tokens_today(tx, owner)


def tokens(usage: dict[str, Any] | None) -> int:
    assert usage is not None
    return usage["input_tokens"] + usage["output_tokens"]


async def test_every_model_call_of_a_turn_is_counted_once(desk: Desk) -> None:
    turn, _ = await desk.ask(CALL)
    assert turn.usage is not None
    assert turn.usage["model_calls"] == 2
    assert await used_today(desk) == tokens(turn.usage) > 0
    again, _ = await desk.ask("say hello")
    assert await used_today(desk) == tokens(turn.usage) + tokens(again.usage)
    assert await used_today(desk, "bob") == 0


async def test_a_crash_and_a_flaky_model_change_nothing_about_that(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    asked = await desk.say(conversation_id, CALL.replace("then ", "then flaky 500 1 "))
    worker = await desk.worker()
    rigged.die(Step.CALLS_COMMITTED)
    with pytest.raises(Died):
        await worker.run_all(conversation_id)
    first = await used_today(desk)
    assert first > 0
    await let_lease_run_out(desk.db, worker)
    await (await desk.worker()).run_all(conversation_id)
    turn = await desk.turn(asked.id)
    assert (turn.status, turn.attempt) == ("completed", 3)
    assert turn.usage is not None
    assert turn.usage["model_calls"] == 2
    assert await used_today(desk) == tokens(turn.usage) > first


async def test_the_same_usage_said_twice_is_counted_once(desk: Desk) -> None:
    """Its commit succeeded and the answer was lost."""
    turn, _ = await desk.ask("say hello")
    before = await used_today(desk)
    async with desk.db.transaction("alice") as tx:
        await keep_usage(tx, turn.id, dict(turn.usage or {}))
    assert await used_today(desk) == before
    assert (await desk.turn(turn.id)).usage == turn.usage


async def test_a_used_up_budget_ends_a_turn_before_the_model_is_asked(
    desk: Desk, stand_in: StandIn
) -> None:
    await desk.ask("say hello")
    asked = len(stand_in.requests)
    turn, history = await desk.ask("say hello", parley_limit_tokens_per_day=1)
    assert turn.status == "failed"
    assert turn.error is not None
    assert (turn.error.code, turn.error.retryable) == ("token_budget_exhausted", False)
    assert "midnight UTC" in turn.error.message
    assert [message.role for message in history] == ["user"]
    assert len(stand_in.requests) == asked
    desk.owner = "bob"
    other, _ = await desk.ask("say hello", parley_limit_tokens_per_day=1)
    assert other.status == "completed"


async def test_a_budget_that_is_used_up_on_the_way_ends_the_turn_there(
    desk: Desk, stand_in: StandIn
) -> None:
    turn, history = await desk.ask(CALL, parley_limit_tokens_per_day=1)
    assert turn.error is not None
    assert turn.error.code == "token_budget_exhausted"
    assert len(stand_in.requests) == 1
    assert [(m.role, m.status) for m in history] == [
        ("user", "completed"),
        ("assistant", "completed"),
        ("tool", "completed"),
    ]


async def test_the_next_day_begins_at_nothing(desk: Desk) -> None:
    await desk.ask("say hello")
    async with desk.db.transaction(EVERYONE) as tx:
        today = await tx.scalar(text("SELECT day FROM token_usage"))
        assert abs((today - datetime.now(UTC).date()).days) <= 1
        await tx.execute(text("UPDATE token_usage SET day = day - 1"))
    assert await used_today(desk) == 0
    turn, _ = await desk.ask("say hello", parley_limit_tokens_per_day=1)
    assert turn.status == "completed"
