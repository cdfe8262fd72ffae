"""Faults of the model that pass, crashes, and how often a turn may begin anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.settings import Settings
from shared.store.waiting import conversations_to_run
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.failures import ModelEmpty, ModelIncomplete, ModelRejected
from worker.retries import pause_for, retry_after
from worker.steps import Step
from worker.turn import Turns

pytestmark = pytest.mark.anyio


def status_error(status: int, *, retry_after: str = "") -> ModelRejected:
    return ModelRejected(status, retry_after)


async def crash(desk: Desk, rigged: Rig, conversation_id: UUID) -> None:
    worker = await desk.worker()
    rigged.die(at=Step.MODEL_ASKED)
    with pytest.raises(Died):
        await worker.run_head(conversation_id)
    await let_lease_run_out(desk.db, worker)


async def test_a_passing_fault_is_tried_again_as_another_attempt(
    desk: Desk, stand_in: StandIn
) -> None:
    turn, _ = await desk.ask("status 500", parley_model_retries=2)
    assert turn.error is not None
    assert (turn.error.code, turn.attempt) == ("model_unavailable", 3)
    assert len(stand_in.requests) == 3


async def test_a_lasting_fault_is_not_tried_again(desk: Desk, stand_in: StandIn) -> None:
    turn, _ = await desk.ask("status 400")
    assert (turn.status, turn.attempt, len(stand_in.requests)) == ("failed", 1, 1)


def test_pauses_grow_and_are_jittered(settings: Settings) -> None:
    error = status_error(503)
    for before in range(3):
        found = [pause_for(error, errors_before=before, settings=settings) for _ in range(50)]
        seconds = [pause.seconds for pause in found if pause is not None]
        assert len(seconds) == 50
        assert all(0.25 * 2**before <= pause <= 0.75 * 2**before for pause in seconds)
        assert len(set(seconds)) > 1
    assert pause_for(error, errors_before=3, settings=settings) is None


def test_what_the_provider_asks_for_is_obeyed_within_reason(settings: Settings) -> None:
    patient = pause_for(status_error(429, retry_after="20"), errors_before=0, settings=settings)
    assert patient is not None
    assert patient.seconds == 20
    too_long = status_error(429, retry_after="3600")
    assert pause_for(too_long, errors_before=0, settings=settings) is None


def test_a_retry_after_is_a_number_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after(status_error(429, retry_after=soon)) <= 30
    assert retry_after(status_error(429, retry_after="1.5")) == 1.5
    for other in ("", "soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert retry_after(status_error(429, retry_after=other)) == 0
    assert retry_after(ModelIncomplete()) == 0


def test_an_empty_answer_is_no_passing_fault(settings: Settings) -> None:
    assert pause_for(ModelEmpty(), errors_before=0, settings=settings) is None


async def test_a_long_pause_keeps_no_place_and_the_sweep_goes_on_after_it(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "status 500")
    worker = await desk.worker(parley_model_backoff_seconds=20)
    await worker.run_all(conversation_id)
    assert not worker.held
    waiting = await desk.turn(turn.id)
    assert (waiting.status, waiting.attempt) == ("running", 1)

    async def found() -> list[UUID]:
        async with desk.db.transaction(EVERYONE) as tx:
            return await conversations_to_run(tx, limit=9)

    assert await found() == []
    assert await worker.run_head(conversation_id) is None
    async with desk.db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE turns SET run_after = clock_timestamp()"))
    assert await found() == [conversation_id]
    assert await worker.run_head(conversation_id) is not None
    assert (await desk.turn(turn.id)).attempt == 2


async def test_a_turn_in_a_pause_is_cancelled_at_once(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "status 500")
    worker = await desk.worker(parley_model_backoff_seconds=20)
    await worker.run_all(conversation_id)
    assert await desk.cancel(turn.id) is None
    assert (await desk.turn(turn.id)).status == "cancelled"


async def test_a_turn_that_crashes_its_workers_is_given_up_and_the_next_one_runs(
    desk: Desk, rigged: Rig
) -> None:
    conversation_id = await desk.conversation()
    poison = await desk.say(conversation_id, "say poison")
    after = await desk.say(conversation_id, "say fine")
    for _ in range(3):
        await crash(desk, rigged, conversation_id)
    last = await desk.worker()
    await last.run_head(conversation_id)
    await last.run_head(conversation_id)
    given_up = await desk.turn(poison.id)
    assert given_up.error is not None
    assert (given_up.status, given_up.error.code) == ("failed", "attempts_exhausted")
    assert (await desk.turn(after.id)).status == "completed"


async def test_given_back_is_not_crashed(desk: Desk, stand_in: StandIn) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "gated One two")
    for number in range(1, 6):
        worker = await desk.worker()
        running = asyncio.create_task(worker.run_head(conversation_id))
        await until(lambda number=number: len(stand_in.requests) == number)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    stand_in.open_gate()
    await (await desk.worker()).run_head(conversation_id)
    ended = await desk.turn(turn.id)
    assert (ended.status, ended.attempt) == ("completed", 6)


async def test_what_shared_a_crashed_worker_with_a_poison_is_not_given_up_with_it(
    desk: Desk, rigged: Rig, stand_in: StandIn
) -> None:
    """From the second crash on such turns run one at a time, so that the third tells them apart."""
    poison, innocent = await desk.conversation(), await desk.conversation()
    await desk.say(poison, "say poison")
    turn = await desk.say(innocent, "gated Fine after all")
    for number in range(1, 3):
        together = await desk.worker()
        beside = asyncio.create_task(together.run_head(innocent))
        await until(lambda number=number: len(stand_in.requests) == number)
        await crash_of(desk, rigged, together, poison)
        beside.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beside
    third = await desk.worker()
    beside = asyncio.create_task(third.run_head(innocent))
    await until(lambda: len(stand_in.requests) == 3)
    assert await third.run_head(poison) is None
    stand_in.open_gate()
    await beside
    assert (await desk.turn(turn.id)).status == "completed"
    rigged.die(at=Step.MODEL_ASKED)
    with pytest.raises(Died):
        await third.run_head(poison)


async def crash_of(desk: Desk, rigged: Rig, worker: Turns, conversation_id: UUID) -> None:
    """Takes along whatever else the worker runs: its rows look as they do after SIGKILL."""
    rigged.die(at=Step.MODEL_ASKED)
    with pytest.raises(Died):
        await worker.run_head(conversation_id)
    await let_lease_run_out(desk.db, worker)
    async with desk.db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE turns SET attempt = attempt + 1 WHERE status = 'running'"))


async def test_the_time_limit_counts_what_earlier_attempts_worked(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "hang")
    async with desk.db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE turns SET worked_seconds = 599.8"))
    await (await desk.worker()).run_all(conversation_id)
    ended = await desk.turn(turn.id)
    assert ended.error is not None
    assert ended.error.code == "turn_timeout"
