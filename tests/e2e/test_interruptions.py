"""The user interrupts: cancel, interrupt, rollback and steer, across real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fixtures.service import Service, StartService
from tests.fixtures.sse import Reader
from tests.fixtures.stand_in import StandIn
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def patient(start_service: StartService) -> Service:
    """A worker whose heartbeats are far apart: what reaches it at once came through the feed."""
    return await start_service(workers=1, worker={"parley_lease_seconds": 120})


@asynccontextmanager
async def at_work(
    service: Service, said: str, enough: Callable[[Reader], bool]
) -> AsyncGenerator[tuple[str, dict[str, Any], Reader]]:
    """A turn whose first text a reader has seen; the reader hears on until it has enough."""
    conversation_id = await service.conversation()
    turn = (await service.say(conversation_id, said))["turn"]
    reader = await service.listen(conversation_id, until=lambda r: bool(r.text))
    following = asyncio.create_task(service.listen(conversation_id, reader, until=enough))
    yield conversation_id, turn, reader
    await following


def statuses(reader: Reader) -> list[str]:
    return [t["status"] for t in sorted(reader.turns.values(), key=lambda t: t["created_at"])]


async def post(service: Service, conversation_id: str, content: str, on_busy: str) -> Any:
    answer = await service.client.post(
        f"/api/chat/conversations/{conversation_id}/messages",
        json={"content": content, "on_busy": on_busy},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


async def shown(service: Service, conversation_id: str) -> list[tuple[str, str, str]]:
    found = await service.messages(conversation_id)
    return [(m["role"], m["content"], m["status"]) for m in found["messages"]]


async def test_cancel_reaches_the_worker_at_once_and_stops_the_model(
    patient: Service, stand_in: StandIn
) -> None:
    async with at_work(patient, "gated Half an answer", lambda r: statuses(r) == ["cancelled"]) as (
        conversation_id,
        turn,
        _,
    ):
        assert stand_in.answering == 1
        answer = await patient.client.post(f"/api/chat/turns/{turn['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
    await until(lambda: stand_in.answering == 0)
    assert await shown(patient, conversation_id) == [
        ("user", "gated Half an answer", "completed"),
        ("assistant", "Half ", "cancelled"),
    ]
    again = await patient.client.post(f"/api/chat/turns/{turn['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    stand_in.open_gate()
    retried = await patient.client.post(f"/api/chat/turns/{turn['id']}/retry")
    assert retried.status_code == 202
    reader = await patient.listen(conversation_id, until=lambda r: statuses(r) == ["completed"])
    assert reader.answers == ["Half ", "Half an answer"]


async def test_interrupt_keeps_the_text_and_answers_the_new_message(patient: Service) -> None:
    async with at_work(
        patient, "gated Half an answer", lambda r: statuses(r) == ["cancelled", "completed"]
    ) as (conversation_id, _, _):
        await post(patient, conversation_id, "say something else", "interrupt")
    assert sorted(await shown(patient, conversation_id)) == sorted(
        [
            ("user", "gated Half an answer", "completed"),
            ("assistant", "Half ", "cancelled"),
            ("user", "say something else", "completed"),
            ("assistant", "something else", "completed"),
        ]
    )


async def test_rollback_leaves_nothing_of_the_turn(patient: Service, stand_in: StandIn) -> None:
    async with at_work(
        patient, "gated Half an answer", lambda r: statuses(r) == ["cancelled", "completed"]
    ) as (conversation_id, _, _):
        await post(patient, conversation_id, "recall", "rollback")
    await until(lambda: stand_in.answering == 0)
    assert await shown(patient, conversation_id) == [
        ("user", "recall", "completed"),
        ("assistant", "recall", "completed"),
    ]


async def test_steer_is_heard_within_the_turn(patient: Service, stand_in: StandIn) -> None:
    async with at_work(patient, "gated Half an answer", lambda r: statuses(r) == ["completed"]) as (
        conversation_id,
        turn,
        reader,
    ):
        steered = await post(patient, conversation_id, "say in French", "steer")
        assert steered["turn"]["id"] == turn["id"]
        stand_in.open_gate()
    assert reader.answers == ["Half an answer", "in French"]
    assert len(reader.turns) == 1
