"""Titles that the model gives: once, beside the turn, and never over one that the user gave."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from shared.connection import EVERYONE
from shared.events import Change, Conversation, ConversationUpdated
from shared.store.conversations import find_conversation, rename_conversation
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker import titles
from worker.titles import title_of
from worker.turn import Turns

pytestmark = pytest.mark.anyio


async def show(desk: Desk, conversation_id: UUID) -> Conversation:
    async with desk.db.snapshot(EVERYONE) as tx:
        found = await find_conversation(tx, conversation_id, owner=desk.owner)
    assert found is not None
    return found


async def ask(desk: Desk, content: str, **changed: Any) -> tuple[Turns, UUID]:
    """One message, run to its end; the title may still be thought of."""
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, content)
    given: dict[str, Any] = {"parley_model_titles": True} | changed
    worker = await desk.worker(**given)
    await worker.run_all(conversation_id)
    return worker, conversation_id


def asked_for_titles(stand_in: StandIn) -> int:
    return sum(
        request["messages"][-1]["content"].startswith(titles.ASKING)
        for request in stand_in.requests
    )


async def test_after_the_first_answer_the_model_is_asked_once_for_a_title(
    desk: Desk, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    await desk.say(
        conversation_id,
        r'''say Hello
entitle raw "\"Plans  for\nsummer\""''',
    )
    told: list[Change] = []
    async with desk.feed.subscribe(conversation_id) as viewer, asyncio.timeout(10):
        worker = await desk.worker(parley_model_titles=True)
        await worker.run_all(conversation_id)
        await worker.titles.settle()
        while not any(isinstance(change, ConversationUpdated) for change in told):
            told += [c for item in await viewer.wait(5) for c in getattr(item, "changes", [])]
    found = await show(desk, conversation_id)
    assert found.title == "Plans for summer"
    # The title is the last change, one of its own, and nothing that was said.
    assert [change.seq for change in told][-2:] == [found.seq - 1, found.seq]
    assert found.updated_at <= (await desk.history(conversation_id))[-1].created_at
    (request,) = (r for r in stand_in.requests if "tools" not in r or not r["tools"])
    assert request["max_completion_tokens"] == titles.MAX_TOKENS
    assert [m["role"] for m in request["messages"]] == ["system", "user", "assistant", "user"]
    await desk.say(conversation_id, "say more")
    await worker.run_all(conversation_id)
    await worker.titles.settle()
    assert asked_for_titles(stand_in) == 1


async def test_what_a_title_costs_is_not_the_turns(desk: Desk) -> None:
    worker, conversation_id = await ask(desk, "say Hello\nentitle say Greetings")
    await worker.titles.settle()
    assert (await show(desk, conversation_id)).title == "Greetings"
    turn = (await desk.history(conversation_id))[0].turn_id
    assert turn is not None
    usage = (await desk.turn(turn)).usage
    assert usage is not None
    assert usage["model_calls"] == 1


async def test_a_turn_ends_before_its_title_is_thought_of_and_nothing_is_held_meanwhile(
    desk: Desk, stand_in: StandIn
) -> None:
    worker, conversation_id = await ask(desk, "say Hello\nentitle gated Some title")
    await until(lambda: stand_in.answering == 1)
    found = await show(desk, conversation_id)
    assert found.active_turn is None
    assert found.title == "say Hello entitle gated Some title"
    assert desk.db.engine.pool.status().startswith("Pool size")
    assert "Current Checked out connections: 0" in desk.db.engine.pool.status()
    stand_in.open_gate()
    await worker.titles.settle()
    assert (await show(desk, conversation_id)).title == "Some title"


async def test_a_title_that_the_user_gives_while_the_model_thinks_stays(
    desk: Desk, stand_in: StandIn
) -> None:
    worker, conversation_id = await ask(desk, "say Hello\nentitle gated The models title")
    await until(lambda: stand_in.answering == 1)
    async with desk.db.transaction("alice") as tx:
        await rename_conversation(tx, conversation_id, owner="alice", title="Mine")
    before = await show(desk, conversation_id)
    stand_in.open_gate()
    await worker.titles.settle()
    assert await show(desk, conversation_id) == before
    assert before.title == "Mine"


async def test_a_title_that_the_user_gave_the_same_as_the_automatic_one_stays_too(
    desk: Desk, stand_in: StandIn
) -> None:
    said = "say Hello\nentitle gated The models title"
    worker, conversation_id = await ask(desk, said)
    await until(lambda: stand_in.answering == 1)
    automatic = (await show(desk, conversation_id)).title
    async with desk.db.transaction("alice") as tx:
        await rename_conversation(tx, conversation_id, owner="alice", title=automatic)
    stand_in.open_gate()
    await worker.titles.settle()
    assert (await show(desk, conversation_id)).title == automatic


@pytest.mark.parametrize(
    "directive",
    ["status 500", "empty", "cut Half a", "garbage", "refuse No", 'say  "\'"', "length Half a"],
)
async def test_where_the_model_fails_nothing_happens(
    desk: Desk, stand_in: StandIn, directive: str
) -> None:
    worker, conversation_id = await ask(desk, f"say Hello\nentitle {directive}")
    before = await show(desk, conversation_id)
    await worker.titles.settle()
    assert asked_for_titles(stand_in) == 1
    assert await show(desk, conversation_id) == before


async def test_a_model_that_goes_on_for_ever_is_left(
    desk: Desk, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(titles, "SECONDS", 0.2)
    for directive in ("stall A", "say " + "word " * 2000):
        worker, conversation_id = await ask(desk, f"say Hello\nentitle {directive}")
        await worker.titles.settle()
        assert (await show(desk, conversation_id)).title.startswith("say Hello entitle")
    await until(lambda: stand_in.answering == 0)


async def test_nobody_is_asked_where_it_is_not_wanted_or_no_title_is_due(
    desk: Desk, stand_in: StandIn
) -> None:
    for content, changed in (
        ("say Hello", {"parley_model_titles": False}),
        ("say Hello", {"parley_model": "echo"}),
        ("status 400", {}),
    ):
        worker, _ = await ask(desk, content, **changed)
        await worker.titles.settle()
    named = await desk.conversation()
    await desk.say(named, "say Hello")
    async with desk.db.transaction("alice") as tx:
        await rename_conversation(tx, named, owner="alice", title="Mine")
    worker = await desk.worker(parley_model_titles=True)
    await worker.run_all(named)
    await worker.titles.settle()
    assert asked_for_titles(stand_in) == 0


async def test_a_worker_that_stops_leaves_its_titles(desk: Desk, stand_in: StandIn) -> None:
    worker, _ = await ask(desk, "say Hello\nentitle stall A")
    await until(lambda: stand_in.answering == 1)
    async with asyncio.timeout(5):
        await worker.titles.stop()
    await until(lambda: stand_in.answering == 0)


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ('"Holiday plans"', "Holiday plans"),
        ("## **Holiday** plans\n\nmore", "Holiday** plans more"),
        ("Holiday\x00\u202eplans\x1b[31m", "Holiday plans [31m"),
        ("x" * 400, "x" * 200),
        (" \n '' ", ""),
        ("👨‍👩‍👧 family", "👨‍👩‍👧 family"),
    ],
)
def test_a_title_is_one_line_of_plain_text(said: str, title: str) -> None:
    assert title_of(said) == title
