"""Tool calls that the owner has to approve, from the model's asking to the turn's end."""

from __future__ import annotations

import pytest

from tests.api.talk import expect_problem, get, path_of, say
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.office import SEND, Office, code, states
from tests.fixtures.people import Person
from tests.fixtures.stand_in import StandIn
from worker.steps import Step

pytestmark = pytest.mark.anyio


async def test_a_call_waits_for_its_owner_and_runs_once_approved(office: Office) -> None:
    turn = await office.ask(SEND)
    assert (turn["status"], turn["attempt"], turn["position"]) == ("awaiting_approval", 1, None)
    (call,) = await office.calls()
    assert (call["status"], call["result"], call["started_at"]) == ("awaiting_approval", None, None)
    shown = (await office.history())[-1]
    assert (shown["role"], shown["status"]) == ("tool", "awaiting_approval")
    assert office.sent == []
    found = await get(office.client, path_of(office.conversation))
    assert found["active_turn"] == turn

    answer = await office.decide(turn, call)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert await office.to_run() == [office.id]
    await office.run()
    ended = await office.turn(turn)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    assert office.sent == [(call["id"], "Bob")]
    (done,) = await office.calls()
    assert (done["status"], done["result"]) == ("completed", "sent to Bob")
    assert done["started_at"] > turn["started_at"]
    assert (await office.row(turn)).crashes == 0


async def test_of_a_denied_call_the_model_reads_that_and_why(
    office: Office, stand_in: StandIn
) -> None:
    turn = await office.ask(SEND)
    (call,) = await office.calls()
    await office.decide(turn, call, "deny", reason="Not to Bob")
    await office.run()
    assert (await office.turn(turn))["status"] == "completed"
    (denied,) = await office.calls()
    assert (denied["status"], code(denied), denied["started_at"]) == ("failed", "denied", None)
    assert denied["result"]["error"]["reason"] == "Not to Bob"
    assert "Not to Bob" in stand_in.requests[-1]["messages"][-1]["content"]
    assert office.sent == []


async def test_a_decision_is_made_once(office: Office) -> None:
    turn = await office.ask(f'{SEND}\ncall send {{"to": "Eve"}}')
    first, second = await office.calls()
    assert (await office.decide(turn, first)).status_code == 202
    for _ in range(2):
        again = await office.decide(turn, first, reason="another")
        assert (again.status_code, again.json()) == (200, await office.turn(turn))
        expect_problem(await office.decide(turn, first, "deny"), 409, "already_decided")
    assert (await office.turn(turn))["status"] == "awaiting_approval"
    await office.decide(turn, second, "deny")
    await office.run()
    assert (await office.decide(turn, first)).status_code == 200
    expect_problem(await office.decide(turn, second), 409, "already_decided")
    assert office.sent == [(first["id"], "Bob")]


async def test_what_does_not_wait_cannot_be_decided(office: Office, bob: Person) -> None:
    turn = await office.ask(f"{SEND}\ncall list_tasks {{}}")
    waiting, other = await office.calls()
    before = await get(office.client, path_of(office.conversation))
    expect_problem(await office.decide(turn, other), 409, "not_awaiting_approval")
    expect_problem(await office.decide(turn, "call_unknown"), 404, "not_found")
    expect_problem(await office.decide(turn, waiting, headers=bob.headers), 404, "not_found")
    expect_problem(await office.decide(turn, waiting, "perhaps"), 400, "invalid_request")
    expect_problem(await office.decide(turn, waiting, reason="\0"), 400, "invalid_request")
    expect_problem(await office.decide(turn, "\0"), 400, "invalid_request")
    assert await get(office.client, path_of(office.conversation)) == before
    await office.client.post(f"/api/chat/turns/{turn['id']}/cancel")
    expect_problem(await office.decide(turn, waiting), 409, "not_awaiting_approval")


async def test_of_one_answer_the_calls_that_need_no_approval_run_at_once(office: Office) -> None:
    """The others when all are decided, in the order the model asked."""
    turn = await office.ask(
        f'{SEND}\ncall create_task {{"title": "one"}}\ncall send {{"to": "Eve"}}\n'
        'call forget {"to": "x"}\ncall create_task {"title": "two"}'
    )
    calls = await office.calls()
    waits = "awaiting_approval"
    assert states(calls) == [waits, "completed", waits, waits, "completed"]
    await office.decide(turn, calls[3])
    await office.decide(turn, calls[2], "deny")
    assert (await office.turn(turn))["status"] == "awaiting_approval"
    assert states(await office.calls()) == [waits, "completed", "failed", waits, "completed"]
    marks = [m["metadata"].get("approval") for m in await office.history() if m["role"] == "tool"]
    assert marks == ["awaited", None, "deny", "approve", None]
    await office.run()
    assert office.sent == []
    await office.decide(turn, calls[0])
    await office.run()
    assert (await office.turn(turn))["status"] == "completed"
    assert [what for _, what in office.sent] == ["Bob", "forgotten"]


async def test_what_cannot_be_done_anyway_needs_no_approval(office: Office) -> None:
    turn = await office.ask("call send {}\ncall no_such_tool {}")
    assert turn["status"] == "completed"
    assert [code(call) for call in await office.calls()] == ["invalid_arguments", "unknown_tool"]


async def test_later_turns_wait_behind_one_that_awaits(office: Office) -> None:
    turn = await office.ask(SEND)
    later = (await say(office.client, office.conversation, "say later"))["turn"]
    assert (later["status"], later["position"]) == ("queued", 1)
    assert await office.to_run() == []
    worker = await office.worker()
    assert await worker.run_head(office.id) is None
    assert worker.held == set()
    row = await office.row(turn)
    assert (row.lease_owner, row.worked_seconds > 0) == (None, True)
    await office.decide(turn, (await office.calls())[0])
    while await worker.run_head(office.id):
        pass
    assert [(await office.turn(t))["status"] for t in (turn, later)] == ["completed"] * 2


@pytest.mark.parametrize(
    "step", [Step.CALLS_COMMITTED, Step.CALLS_TOLD, Step.END_WRITTEN, Step.END_COMMITTED]
)
async def test_a_worker_that_dies_around_the_pause_loses_nothing(
    office: Office, rigged: Rig, step: Step
) -> None:
    said = await say(office.client, office.conversation, f"{SEND}\ncall list_tasks {{}}")
    first = await office.worker()
    rigged.die(at=step)
    with pytest.raises(Died):
        await first.run_head(office.id)
    await let_lease_run_out(office.desk.db, first)
    await office.run()
    turn = await office.turn(said["turn"])
    assert turn["status"] == "awaiting_approval"
    calls = await office.calls()
    assert states(calls) == ["awaiting_approval", "completed"]
    assert office.sent == []
    await office.decide(turn, calls[0])
    await office.run()
    assert (await office.turn(turn))["status"] == "completed"
    assert office.sent == [(calls[0]["id"], "Bob")]


@pytest.mark.parametrize(
    ("step", "idempotent", "times", "ended"),
    [
        (Step.CALLS_WRITTEN, False, 1, "completed"),
        (Step.CALLS_COMMITTED, False, 0, "failed"),
        (Step.RESULT_WRITTEN, False, 1, "failed"),
        (Step.RESULT_WRITTEN, True, 2, "completed"),
        (Step.RESULT_COMMITTED, False, 1, "completed"),
    ],
)
async def test_a_worker_that_dies_after_the_approval(
    office: Office, rigged: Rig, step: Step, idempotent: bool, times: int, ended: str
) -> None:
    """Once begun, only a call that may be repeated is."""
    office.idempotent = idempotent
    turn = await office.ask(SEND)
    (call,) = await office.calls()
    await office.decide(turn, call)
    second = await office.worker()
    rigged.die(at=step)
    with pytest.raises(Died):
        await second.run_head(office.id)
    await let_lease_run_out(office.desk.db, second)
    await office.run()
    assert (await office.turn(turn))["status"] == "completed"
    assert office.sent == [(call["id"], "Bob")] * times
    (done,) = await office.calls()
    assert done["status"] == ended
    if ended == "failed":
        assert code(done) == "outcome_unknown"
