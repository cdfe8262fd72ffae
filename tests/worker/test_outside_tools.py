"""Tools that act on something that isn't our database: what is known of them, and what isn't."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from shared.events import Message, ToolCall
from tests.fixtures.interruptions import Died, Rig, let_lease_run_out
from tests.fixtures.turns import Desk
from worker.steps import Step
from worker.tools.tool import OutsideTool

pytestmark = pytest.mark.anyio


class Letter(Struct):
    to: str


class Post:
    """Somewhere else: it remembers what it was asked, with which key."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []

    async def send(self, owner: str, key: str, letter: Letter) -> str:
        self.sent.append((owner, key, letter.to))
        return f"sent to {letter.to}"

    async def refuse(self, owner: str, key: str, letter: Letter) -> str:
        await self.send(owner, key, letter)
        raise RuntimeError("the text of a fault stays here")


def call_of(history: list[Message]) -> ToolCall:
    return next(call for m in history for call in m.tool_calls or ())


async def interrupted(desk: Desk, rigged: Rig, tool: OutsideTool[Any], step: Step) -> list[Message]:
    """The history after a worker died at the step and another one went on."""
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call send {"to": "Bob"}')
    first, second = await desk.worker(tools=[tool]), await desk.worker(tools=[tool])
    rigged.die(at=step)
    with pytest.raises(Died):
        await first.run_head(conversation_id)
    await let_lease_run_out(desk.db, first)
    await second.run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    return await desk.history(conversation_id)


async def test_a_call_whose_outcome_nobody_knows_is_not_repeated(desk: Desk, rigged: Rig) -> None:
    post = Post()
    tool = OutsideTool("send", "Send a letter.", Letter, post.send)
    history = await interrupted(desk, rigged, tool, Step.RESULT_WRITTEN)
    assert len(post.sent) == 1
    call = call_of(history)
    assert (call.status, call.result["error"]["code"]) == ("failed", "outcome_unknown")


async def test_an_idempotent_one_is_repeated_with_the_same_key(desk: Desk, rigged: Rig) -> None:
    post = Post()
    tool = OutsideTool("send", "Send a letter.", Letter, post.send, idempotent=True)
    history = await interrupted(desk, rigged, tool, Step.RESULT_WRITTEN)
    assert len(post.sent) == 2
    assert len(set(post.sent)) == 1
    call = call_of(history)
    assert post.sent[0] == ("alice", call.id, "Bob")
    assert (call.status, call.result) == ("completed", "sent to Bob")


async def test_a_call_with_a_result_is_not_repeated(desk: Desk, rigged: Rig) -> None:
    post = Post()
    tool = OutsideTool("send", "Send a letter.", Letter, post.send, idempotent=True)
    await interrupted(desk, rigged, tool, Step.RESULT_COMMITTED)
    assert len(post.sent) == 1


async def test_a_tool_that_breaks_is_a_result_without_the_faults_own_words(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, 'call send {"to": "Bob"}')
    worker = await desk.worker(tools=[OutsideTool("send", "", Letter, Post().refuse)])
    await worker.run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    call = call_of(await desk.history(conversation_id))
    assert call.status == "failed"
    assert call.result == {"error": {"code": "tool_failed", "message": "The tool failed."}}
