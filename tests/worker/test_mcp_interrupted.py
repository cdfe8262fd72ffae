"""Calls of tools elsewhere that were interrupted, while the server comes and goes."""

from __future__ import annotations

import pytest

from shared.events import Message, ToolCall
from tests.fixtures.elsewhere import Elsewhere, Meet
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.turns import Desk
from worker.steps import Step
from worker.tools.mcp import Servers

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:1/mcp"
DELETE = 'call files__delete {"path": "x"}'


def only_call(history: list[Message]) -> ToolCall:
    (call,) = [call for message in history for call in message.tool_calls or ()]
    return call


async def interrupted(
    desk: Desk, rigged: Rig, *, first: Servers, second: Servers, step: Step, content: str = DELETE
) -> ToolCall:
    """The call of a turn whose first worker died at the step, after the second ended the turn."""
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, content)
    dying, heir = await desk.worker(servers=first), await desk.worker(servers=second)
    rigged.die(at=step)
    with pytest.raises(Died):
        await dying.run_head(conversation_id)
    await let_lease_run_out(desk.db, dying)
    await heir.run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    return only_call(await desk.history(conversation_id))


def code(call: ToolCall) -> str:
    assert call.status == "failed"
    return call.result["error"]["code"]


async def test_of_a_call_that_was_begun_nobody_says_that_it_was_not(
    desk: Desk, rigged: Rig, meet: Meet, elsewhere: Elsewhere
) -> None:
    """Its server is away when the next worker comes."""
    call = await interrupted(
        desk, rigged, first=meet(), second=meet(url=NOWHERE), step=Step.RESULT_WRITTEN
    )
    assert [called.tool for called in elsewhere.called] == ["delete"]
    assert code(call) == "outcome_unknown"


async def test_a_server_that_comes_back_gets_no_call_that_nobody_approved(
    desk: Desk, rigged: Rig, meet: Meet, elsewhere: Elsewhere
) -> None:
    """The tool was not there when it was asked for, so nobody asked the owner."""
    wary = {"approval": ["delete"], "idempotent": ["delete"]}
    call = await interrupted(
        desk,
        rigged,
        first=meet(url=NOWHERE, **wary),
        second=meet(**wary),
        step=Step.CALLS_COMMITTED,
    )
    assert elsewhere.called == []
    assert code(call) == "outcome_unknown"


async def test_an_approved_call_that_is_idempotent_is_made_again(
    desk: Desk, rigged: Rig, meet: Meet, elsewhere: Elsewhere
) -> None:
    wary = {"approval": ["delete"], "idempotent": ["delete"]}
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, DELETE)
    worker = await desk.worker(servers=meet(**wary))
    await worker.run_head(conversation_id)
    await desk.approve(turn.id, only_call(await desk.history(conversation_id)).id)
    rigged.die(at=Step.RESULT_WRITTEN)
    with pytest.raises(Died):
        await worker.run_head(conversation_id)
    await let_lease_run_out(desk.db, worker)
    await (await desk.worker(servers=meet(**wary))).run_all(conversation_id)
    call = only_call(await desk.history(conversation_id))
    assert (call.status, call.result) == ("completed", {"result": "deleted x"})
    assert [called.key for called in elsewhere.called] == [call.id, call.id]


@pytest.mark.parametrize("arguments", ['["x"]', '{"path": "/tm'])
async def test_nobody_is_asked_to_approve_what_is_no_object(
    desk: Desk, meet: Meet, elsewhere: Elsewhere, arguments: str
) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, f"call files__delete {arguments}")
    await (await desk.worker(servers=meet(approval=["delete"]))).run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    assert code(only_call(await desk.history(conversation_id))) == "invalid_arguments"
    assert elsewhere.called == []


@pytest.mark.parametrize("key", ["$unread", "$unr\\u0000ead"])
async def test_what_a_model_puts_under_our_own_mark_is_not_taken_out_of_it(
    desk: Desk, meet: Meet, elsewhere: Elsewhere, key: str
) -> None:
    """Otherwise other arguments would run than those that are shown and approved."""
    conversation_id = await desk.conversation()
    hidden = f'call files__delete {{"{key}": "{{\\"path\\": \\"y\\"}}"}}'
    turn = await desk.say(conversation_id, hidden)
    await (await desk.worker(servers=meet())).run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    assert code(only_call(await desk.history(conversation_id))) == "tool_error"
    assert elsewhere.called == []


async def test_what_was_no_object_is_none_after_an_interruption(
    desk: Desk, rigged: Rig, meet: Meet, elsewhere: Elsewhere
) -> None:
    servers = meet(idempotent=["delete"])
    call = await interrupted(
        desk,
        rigged,
        first=servers,
        second=servers,
        step=Step.CALLS_COMMITTED,
        content='call files__delete ["x"]',
    )
    assert code(call) == "invalid_arguments"
    assert elsewhere.called == []
