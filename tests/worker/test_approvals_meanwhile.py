"""What may happen to a turn while it waits for its owner's word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.talk import Json, expect_problem, get, messages_of, path_of, say
from tests.fixtures.office import SEND, Office, code
from tests.fixtures.stand_in import StandIn
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


Ending = Callable[[Office, Json], Any]


async def cancelling(office: Office, turn: Json) -> None:
    answer = await office.client.post(f"/api/chat/turns/{turn['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


async def interrupting(office: Office, turn: Json) -> None:
    body = {"content": "say instead", "on_busy": "interrupt"}
    answer = await office.client.post(messages_of(office.conversation), json=body)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("ending", [cancelling, interrupting])
async def test_a_turn_that_awaits_ends_at_once(office: Office, ending: Ending) -> None:
    turn = await office.ask(SEND)
    later = (await say(office.client, office.conversation, "say later"))["turn"]
    await ending(office, turn)
    assert (await office.turn(turn))["status"] == "cancelled"
    (call,) = await office.calls()
    assert (call["status"], code(call)) == ("cancelled", "not_run")
    worker = await office.worker()
    while await worker.run_head(office.id):
        pass
    assert (await office.turn(later))["status"] == "completed"
    assert office.sent == []


async def test_a_turn_that_awaits_can_be_rolled_back_and_deleted(office: Office) -> None:
    turn = await office.ask(SEND)
    body = {"content": SEND, "on_busy": "rollback"}
    answer = await office.client.post(messages_of(office.conversation), json=body)
    assert [m["content"] for m in await office.history()] == [SEND]
    expect_problem(await office.decide(turn, "call_x"), 404, "not_found")
    await office.run()
    assert (await office.turn(answer.json()["turn"]))["status"] == "awaiting_approval"
    assert (await office.client.delete(path_of(office.conversation))).status_code == 204
    row = await office.row(answer.json()["turn"])
    assert row.status == "cancelled"
    assert office.sent == []


async def test_a_cancelled_one_that_is_retried_asks_the_model_again(office: Office) -> None:
    turn = await office.ask(SEND)
    await cancelling(office, turn)
    await office.client.post(f"/api/chat/turns/{turn['id']}/retry")
    await office.run()
    assert (await office.turn(turn))["status"] == "completed"
    assert office.sent == []


async def test_what_is_said_meanwhile_is_refused_or_read_after_the_decision(
    office: Office, stand_in: StandIn
) -> None:
    turn = await office.ask(SEND)
    path = messages_of(office.conversation)
    refused = await office.client.post(path, json={"content": "x", "on_busy": "reject"})
    expect_problem(refused, 409, "conversation_busy")
    steered = await office.client.post(path, json={"content": "say so", "on_busy": "steer"})
    assert steered.json()["turn"]["id"] == turn["id"]
    await office.run()
    assert len(stand_in.requests) == 1
    await office.decide(turn, (await office.calls())[0])
    await office.run()
    asked = stand_in.requests[-1]["messages"][1:]
    assert [m["role"] for m in asked] == ["user", "assistant", "tool", "user"]
    assert (await office.turn(turn))["status"] == "completed"


async def test_whoever_waits_for_the_answer_learns_at_once_that_they_have_to_decide(
    office: Office,
) -> None:
    asking = asyncio.create_task(
        office.client.post(
            messages_of(office.conversation), params={"wait": 60}, json={"content": SEND}
        )
    )
    worker = await office.worker()
    await until(lambda: worker.run_head(office.id))
    async with asyncio.timeout(20):
        answer = await asking
    assert answer.status_code == 202
    assert answer.json()["turn"]["status"] == "awaiting_approval"
    assert answer.json()["assistant_message"] is None


async def test_every_viewer_is_told(office: Office) -> None:
    turn = await office.ask(SEND)
    since = (await get(office.client, path_of(office.conversation)))["seq"]
    await office.decide(turn, (await office.calls())[0])
    page = await get(office.client, messages_of(office.conversation), since=since)
    assert [(m["role"], m["metadata"]["approval"]) for m in page["messages"]] == [
        ("tool", "approve")
    ]
    assert [t["status"] for t in page["turns"]] == ["running"]
    assert page["next_since"] == since + 2
