"""Many conversations, several processes, and parts that are missing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from cli.embedded import Service as Server
from tests.fixtures.processes import free_port
from tests.fixtures.service import Service, StartService
from tests.fixtures.sse import Reader, turn_ended
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def test_fifty_conversations_at_once_are_all_answered(service: Service) -> None:

    async def chat(number: int) -> None:
        conversation_id = await service.conversation()
        answer = await service.say(conversation_id, f"say answer {number}", wait=50)
        assert answer["assistant_message"]["content"] == f"answer {number}"
        history = await service.messages(conversation_id)
        assert [m["content"] for m in history["messages"]] == [
            f"say answer {number}",
            f"answer {number}",
        ]

    await asyncio.gather(*(chat(number) for number in range(50)))
    logs = [worker.log.read_text() for worker in service.workers]
    assert all("turn_ended" in log for log in logs), "one of the workers did nothing"


async def test_ten_messages_at_once_are_answered_in_the_order_they_were_accepted(
    service: Service,
) -> None:
    conversation_id = await service.conversation()
    said = [f"say {number}" for number in range(10)]
    await asyncio.gather(*(service.say(conversation_id, text) for text in said))
    reader = await service.listen(conversation_id, until=all_ended(10))
    accepted = sorted(
        (m for m in reader.messages.values() if m["role"] == "user"), key=lambda m: m["seq"]
    )
    assert reader.answers == [m["content"].removeprefix("say ") for m in accepted]
    assert {turn["attempt"] for turn in reader.turns.values()} == {1}


async def test_never_two_turns_of_a_conversation_run_at_once(service: Service) -> None:
    conversation_id = await service.conversation()
    reader = Reader()
    most = 0

    def watched(heard: Reader) -> bool:
        nonlocal most
        states = [turn["status"] for turn in heard.turns.values()]
        most = max(most, states.count("running"))
        positions = [t["position"] for t in heard.turns.values() if t["status"] == "queued"]
        assert len(set(positions)) == len(positions)
        return all_ended(5)(heard)

    listening = asyncio.create_task(service.listen(conversation_id, reader, until=watched))
    for number in range(5):
        await service.say(conversation_id, f"slow 20 a b c {number}")
    await listening
    assert most == 1


async def test_a_conversation_goes_on_without_redis(start_service: StartService) -> None:
    nowhere = {"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}
    service = await start_service(api=nowhere, worker=nowhere)
    conversation_id = await service.conversation()
    posted = await service.say(conversation_id, 'call create_task {"title": "x"}')
    assert posted["turn"]["status"] == "queued"
    reader = await service.listen(conversation_id)
    assert [turn["status"] for turn in reader.turns.values()] == ["completed"]
    assert reader.answers[-1].startswith("Done: ")


async def test_a_frozen_redis_delays_a_turn_and_loses_nothing(
    start_service: StartService, own_valkey: Server
) -> None:
    here = {"redis_url": SecretStr(own_valkey.url)}
    service = await start_service(api=here, worker=here)
    conversation_id = await service.conversation()
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        await service.say(conversation_id, "say while frozen")
        reader = await service.listen(conversation_id)
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    assert reader.answers == ["while frozen"]
    await service.say(conversation_id, "say and after", wait=20)
    reader = await service.listen(conversation_id, reader, until=all_ended(2))
    assert reader.answers == ["while frozen", "and after"]


async def test_a_killed_worker_leaves_one_message_and_one_answer(
    start_service: StartService,
) -> None:
    service = await start_service(
        workers=2, worker={"parley_lease_seconds": 1, "parley_sweep_seconds": 0.2}
    )
    conversations = [await service.conversation() for _ in range(8)]
    for conversation_id in conversations:
        await service.say(conversation_id, "gated First then the rest")

    async def streaming() -> bool:
        return len(await asyncio.to_thread(lambda: service.stand_in.requests)) >= 8

    await until(streaming)
    await service.workers[0].kill()
    service.stand_in.open_gate()
    for conversation_id in conversations:
        reader = await service.listen(conversation_id)
        assert reader.answers == ["First then the rest"]
        history = await service.messages(conversation_id)
        assert [m["role"] for m in history["messages"]] == ["user", "assistant"]


def ended(count: int) -> Callable[[Reader], bool]:
    """That many turns, and each of them in whatever way."""
    return lambda reader: len(reader.turns) == count and turn_ended(reader)


def all_ended(count: int) -> Callable[[Reader], bool]:
    """That many turns, and each of them completed."""

    def completed(reader: Reader) -> bool:
        states = [turn["status"] for turn in reader.turns.values()]
        return states.count("completed") == count

    return completed
