"""The checks of a proof: silent on what is right, with a name for everything that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from sqlalchemy import text

from cli.verify.checks import check
from cli.verify.invariants import Invariant, Verdict
from cli.verify.ledger import Chat, Ledger, Sent
from shared.connection import LOGIN
from shared.db import Database
from shared.events import Turn
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk

pytestmark = pytest.mark.anyio

SAID = "say One two three"
TWO_TASKS = (
    'call create_task {"title": "a"}\ncall create_task {"title": "b"}\nthen say Both are made'
)
STEPS = 'again create_task {"title": "c"} again create_task {"title": "d"}\nthen say One by one'
REFUSED = "refuse I would rather not"


@dataclass
class Evidence:
    """A database in which all is well, what its client knows, and what the model heard."""

    db: Database
    ledger: Ledger
    report: dict[str, Any]

    async def verdict(self) -> Verdict:
        return await check(self.ledger, self.db, self.report, rest=0)

    async def tamper(self, *statements: str) -> None:
        async with self.db.transaction(LOGIN) as tx:
            for statement in statements:
                await tx.execute(text(statement))

    async def found(self) -> set[str]:
        return {violation.invariant for violation in (await self.verdict()).violations}


@pytest.fixture
async def evidence(desk: Desk, stand_in: StandIn) -> Evidence:
    ledger = Ledger()
    for texts in ((SAID, TWO_TASKS, STEPS), (REFUSED,)):
        conversation_id = await desk.conversation()
        chat = Chat(str(conversation_id), desk.owner, "", {}, {})
        ledger.chats[chat.conversation_id] = chat
        worker = await desk.worker()
        for number, content in enumerate(texts):
            turn = await desk.say(conversation_id, content)
            assert await worker.run_head(conversation_id)
            chat.sent.append(await sent(desk, turn, content, began=float(2 * number)))
    async with httpx.AsyncClient(base_url=stand_in.url) as client:
        report: dict[str, Any] = (await client.get("/verdict")).json()
    return Evidence(desk.db, ledger, report)


async def sent(desk: Desk, turn: Turn, content: str, *, began: float) -> Sent:
    """As a client remembers it."""
    said = next(
        message
        for message in await desk.history(turn.conversation_id)
        if message.id == turn.user_message_id
    )
    return Sent(
        str(turn.conversation_id),
        desk.owner,
        "",
        content,
        "enqueue",
        began,
        ended=began + 1,
        status=202,
        answer={"message": msgspec.to_builtins(said), "turn": msgspec.to_builtins(turn)},
    )


async def test_nothing_is_said_of_a_healthy_database(evidence: Evidence) -> None:
    verdict = await evidence.verdict()
    assert verdict.violations == []
    looked_at = {
        *("accepted_once", "nothing_uninvited", "ended", "one_at_a_time", "final_answer"),
        *("kept_text", "known_failures", "steered_heard", "effect_once", "calls_closed"),
        *("asked_done", "numbers", "counted", "model_input"),
    }
    assert looked_at == {name for name, count in verdict.checked.items() if count}


FIRST = f"(SELECT turn_id FROM messages WHERE content = '{SAID}')"
ANSWER = "role = 'assistant' AND content = 'One two three'"
COPY = "gen_random_uuid(), conversation_id, user_id, turn_id, seq + 500, changed_seq + 500, role"
COPIED = "(id, conversation_id, user_id, turn_id, seq, changed_seq, role, content, status)"

TAMPERED: dict[str, tuple[str, Invariant]] = {
    "an answer is gone": (f"DELETE FROM messages WHERE {ANSWER}", Invariant.final_answer),
    "an answer is cut": (
        f"UPDATE messages SET content = 'One two' WHERE {ANSWER}",
        Invariant.final_answer,
    ),
    "an answer is there twice": (
        f"INSERT INTO messages {COPIED} SELECT {COPY}, content, status"
        f" FROM messages WHERE {ANSWER}",
        Invariant.final_answer,
    ),
    "a message is gone": (
        f"DELETE FROM messages WHERE content = '{SAID}'",
        Invariant.accepted_once,
    ),
    "a message is there twice": (
        f"INSERT INTO messages {COPIED} SELECT {COPY}, content, status"
        f" FROM messages WHERE content = '{SAID}'",
        Invariant.accepted_once,
    ),
    "a message says something else": (
        f"UPDATE messages SET content = 'say something else' WHERE content = '{SAID}'",
        Invariant.accepted_once,
    ),
    "a message that nobody sent": (
        f"INSERT INTO messages {COPIED} SELECT {COPY}, 'say who am I', status"
        f" FROM messages WHERE content = '{SAID}'",
        Invariant.nothing_uninvited,
    ),
    "a task is made twice": (
        "INSERT INTO tasks (id, user_id, title)"
        " SELECT gen_random_uuid(), user_id, title FROM tasks WHERE title = 'a'",
        Invariant.effect_once,
    ),
    "a task is gone": ("DELETE FROM tasks WHERE title = 'a'", Invariant.effect_once),
    "a result says that nothing was made": (
        """UPDATE messages SET content = '{"error": {}}' WHERE role = 'tool'""",
        Invariant.asked_done,
    ),
    "a tool is still at work": (
        "UPDATE messages SET status = 'running' WHERE role = 'tool'",
        Invariant.calls_closed,
    ),
    "a result is gone": ("DELETE FROM messages WHERE role = 'tool'", Invariant.calls_closed),
    "a call is gone": (
        "UPDATE messages SET tool_calls = NULL WHERE role = 'assistant'",
        Invariant.calls_closed,
    ),
    "a turn runs for ever": (
        f"UPDATE turns SET status = 'running', finished_at = NULL WHERE id = {FIRST}",
        Invariant.ended,
    ),
    "a turn waits for ever": (
        f"UPDATE turns SET status = 'queued', position = 1 WHERE id = {FIRST}",
        Invariant.ended,
    ),
    "a turn began before the one before it ended": (
        f"UPDATE turns SET finished_at = finished_at + interval '1 hour' WHERE id = {FIRST}",
        Invariant.one_at_a_time,
    ),
    "a turn is cancelled though nobody asked": (
        f"UPDATE turns SET status = 'cancelled' WHERE id = {FIRST}",
        Invariant.cancelled_by_asking,
    ),
    "a turn failed by us": (
        """UPDATE turns SET error = '{"code": "internal"}' WHERE status = 'failed'""",
        Invariant.known_failures,
    ),
    "a turn failed by a model that had no fault": (
        """UPDATE turns SET status = 'failed', error = '{"code": "model_timeout"}'"""
        f" WHERE id = {FIRST}",
        Invariant.known_failures,
    ),
    "text was kept that the model never said": (
        "UPDATE messages SET content = 'With pleasure' WHERE status = 'failed'",
        Invariant.kept_text,
    ),
    "half of a turn is withdrawn": (
        f"UPDATE messages SET status = 'withdrawn' WHERE {ANSWER}",
        Invariant.withdrawn_whole,
    ),
    "a number is taken twice": (
        f"UPDATE turns SET changed_seq = (SELECT seq FROM messages WHERE {ANSWER})"
        f" WHERE id = {FIRST}",
        Invariant.numbers,
    ),
    "a number is ahead of its conversation": (
        f"UPDATE turns SET changed_seq = 1000 WHERE id = {FIRST}",
        Invariant.numbers,
    ),
    "a conversation counts a message too many": (
        "UPDATE conversations SET message_count = message_count + 1",
        Invariant.counted,
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_row_that_is_wrong_is_found(evidence: Evidence, name: str) -> None:
    statement, invariant = TAMPERED[name]
    await evidence.tamper(statement)
    assert invariant.name in await evidence.found()


async def test_messages_in_another_order_than_they_were_accepted_are_found(
    evidence: Evidence,
) -> None:
    first, second, _ = next(iter(evidence.ledger.chats.values())).sent
    first.answer, second.answer = second.answer, first.answer
    assert Invariant.one_at_a_time.name in await evidence.found()


async def test_a_refused_message_that_is_there_is_found(evidence: Evidence) -> None:
    refused = evidence.ledger.sent[0]
    refused.status = 409
    assert await evidence.found() == {Invariant.refused_nothing.name}
    refused.uncertain = 1
    assert await evidence.found() == set()


async def test_a_cancelled_turn_that_completed_is_found(evidence: Evidence) -> None:
    evidence.ledger.cancel_accepted.add(evidence.ledger.sent[0].turn_id)
    assert await evidence.found() == {Invariant.cancel_holds.name}


async def test_a_cancel_that_was_asked_for_is_fine(evidence: Evidence) -> None:
    turn_id = evidence.ledger.sent[0].turn_id
    evidence.ledger.cancel_asked.add(turn_id)
    evidence.ledger.cancel_accepted.add(turn_id)
    await evidence.tamper(
        f"UPDATE turns SET status = 'cancelled' WHERE id = '{UUID(turn_id)}'",
        f"UPDATE messages SET status = 'cancelled', content = 'One tw' WHERE {ANSWER}",
    )
    assert await evidence.found() == set()


async def test_a_turn_that_was_rolled_back_as_a_whole_is_fine(evidence: Evidence) -> None:
    first = evidence.ledger.sent[0]
    await evidence.tamper(
        f"UPDATE turns SET status = 'cancelled' WHERE id = {FIRST}",
        f"UPDATE messages SET status = 'withdrawn' WHERE turn_id = {FIRST}",
        "UPDATE conversations SET message_count = (SELECT count(*) FROM messages"
        " WHERE conversation_id = conversations.id AND status <> 'withdrawn')",
    )
    assert await evidence.found() == {
        Invariant.cancelled_by_asking.name,
        Invariant.withdrawn_whole.name,
    }
    first.on_busy = "rollback"
    assert await evidence.found() == set()


async def test_a_message_that_the_model_never_read_is_found(evidence: Evidence) -> None:
    del evidence.report["heard"][SAID]
    assert await evidence.found() == {Invariant.steered_heard.name}


async def test_a_history_that_the_model_refused_is_found(evidence: Evidence) -> None:
    evidence.report["invalid"].append("message 3 is empty")
    assert await evidence.found() == {Invariant.model_input.name}


async def test_what_clients_noted_is_part_of_the_verdict(evidence: Evidence) -> None:
    evidence.ledger.note(Invariant.text_offset, "a gap")
    assert await evidence.found() == {Invariant.text_offset.name}
