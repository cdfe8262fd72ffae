"""The event stream, over real HTTP, from real processes."""

from __future__ import annotations

import asyncio
import signal
from uuid import UUID

import pytest
from arq.connections import ArqRedis

from shared.publisher import live_key
from tests.fixtures.people import make_token
from tests.fixtures.processes import Process
from tests.fixtures.service import Service, StartService
from tests.fixtures.sse import Reader, closed, listen, open_stream, parse, turn_ended
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

ANSWER = "One two three, with an emoji \U0001f600 and a\nnew line, and so on to the end."


async def test_a_message_is_queued_run_streamed_and_completed(service: Service) -> None:
    conversation_id = await service.conversation()
    async with service.watching(conversation_id) as reader:
        posted = await service.say(conversation_id, f"slow 2 {ANSWER}")
    names = [event.name for event in reader.events]
    assert names[:3] == ["message.created", "turn.updated", "turn.updated"]
    assert set(names[3:-2]) == {"message.delta"}
    assert names[-2:] == ["message.created", "turn.updated"]
    states = [e.data["turn"]["status"] for e in reader.events if e.name == "turn.updated"]
    assert states == ["queued", "running", "completed"]
    assert reader.answers == [ANSWER]
    assert reader.turns[posted["turn"]["id"]]["model"] == "stand-in"


async def test_changes_are_numbered_without_gaps(service: Service) -> None:
    conversation_id = await service.conversation()
    async with service.watching(conversation_id) as reader:
        posted = await service.say(conversation_id, 'call create_task {"title": "x"}')
    seqs = [event.data["seq"] for event in reader.events if event.name != "message.delta"]
    first = posted["since"] + 1
    assert seqs == list(range(first, first + len(seqs)))


async def test_a_tool_call_is_seen_at_work_and_then_with_its_result(service: Service) -> None:
    conversation_id = await service.conversation()
    async with service.watching(conversation_id) as reader:
        await service.say(conversation_id, 'call create_task {"title": "Review Q4 report"}')
    tool = [e for e in reader.events if e.name.startswith("message.") and _is_tool(e.data)]
    assert [e.name for e in tool] == ["message.created", "message.updated"]
    at_work, done = (event.data["message"] for event in tool)
    assert (at_work["status"], done["status"]) == ("running", "completed")
    assert done["metadata"]["tool_name"] == "create_task"
    assert done["metadata"]["duration_ms"] >= 0
    tasks = (await service.client.get("/api/tasks")).json()["tasks"]
    assert [task["title"] for task in tasks] == ["Review Q4 report"]


def _is_tool(data: dict[str, dict[str, str]]) -> bool:
    return data.get("message", {}).get("role") == "tool"


async def test_since_zero_equals_the_history(service: Service) -> None:
    conversation_id = await service.conversation()
    for said in ("say one", 'call create_task {"title": "x"}', "status 500"):
        await service.say(conversation_id, said, wait=20)
    history = await service.messages(conversation_id)
    last = history["next_since"]
    reader = await service.listen(conversation_id, until=lambda r: r.seq == last)
    assert sorted(reader.messages.values(), key=lambda m: m["seq"]) == history["messages"]
    polled = await service.messages(conversation_id, since=0)
    assert sorted(polled["messages"], key=lambda m: m["seq"]) == history["messages"]
    assert polled["turns"] == history["turns"]
    assert {turn["id"]: turn for turn in history["turns"]} == reader.turns
    assert polled["next_since"] == history["next_since"] == reader.seq


async def test_cutting_a_live_stream_anywhere_loses_and_repeats_nothing(service: Service) -> None:
    """Every prefix of the bytes of a stream is a client that went away there and came back."""
    conversation_id = await service.conversation()
    head = "First words, then "
    await service.say(conversation_id, f"gated {head}the rest of it \U0001f600 at last.")
    url, headers = service.url, service.person.headers
    first = Reader()
    raw = await listen(
        url, conversation_id, headers, reader=first, until=lambda r: r.text == "First "
    )
    readers: dict[str, Reader] = {}
    for cut in range(len(raw) + 1):
        reader = Reader().hear_all(parse(raw[:cut]))
        readers[reader.last_id] = reader
    assert len(readers) >= 4
    assert any(":" in cursor for cursor in readers)
    resumed = [
        asyncio.create_task(service.listen(conversation_id, reader)) for reader in readers.values()
    ]
    await until(lambda: all(reader.text == "First " for reader in readers.values()))
    service.stand_in.open_gate()
    for reader in await asyncio.gather(*resumed):
        assert reader.answers == [f"{head}the rest of it \U0001f600 at last."]


async def test_cutting_a_finished_stream_anywhere_ends_on_the_same_history(
    service: Service,
) -> None:
    conversation_id = await service.conversation()
    reader = Reader()
    listening = asyncio.create_task(
        listen(
            service.url, conversation_id, service.person.headers, reader=reader, until=turn_ended
        )
    )
    await service.say(conversation_id, f"slow 40 {ANSWER}")
    raw = await listening
    cursors = {Reader().hear_all(parse(raw[:cut])).last_id: cut for cut in range(len(raw))}
    assert len(cursors) > 8
    for cut in cursors.values():
        again = await service.listen(conversation_id, Reader().hear_all(parse(raw[:cut])))
        assert again.messages == reader.messages
        assert again.turns == reader.turns


async def test_every_viewer_sees_the_same(service: Service) -> None:
    conversation_id = await service.conversation()
    readers = [Reader() for _ in range(10)]
    listening = [asyncio.create_task(service.listen(conversation_id, reader)) for reader in readers]
    await service.say(conversation_id, f"slow 3 {ANSWER}")
    await asyncio.gather(*listening)
    assert all(reader.messages == readers[0].messages for reader in readers)
    assert readers[0].answers == [ANSWER]


async def test_a_message_sent_meanwhile_leaves_the_text_in_flight_standing(
    service: Service,
) -> None:
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
    await service.say(conversation_id, "say second")
    await service.listen(conversation_id, reader, until=lambda r: len(r.turns) == 2)
    assert reader.last_id.endswith(":6")
    service.stand_in.open_gate()
    await service.listen(conversation_id, reader)
    assert reader.answers == ["First then the rest", "second"]


async def test_a_fast_model_does_not_cost_an_event_a_token(service: Service) -> None:
    conversation_id = await service.conversation()
    async with service.watching(conversation_id) as reader:
        await service.say(conversation_id, "say " + "word " * 1500)
    deltas = [event for event in reader.events if event.name == "message.delta"]
    assert 1 <= len(deltas) < 400
    assert deltas[0].data["offset"] == 0


async def test_the_first_piece_leaves_before_there_is_a_second(service: Service) -> None:
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
    assert reader.text == "First "
    service.stand_in.open_gate()
    await service.listen(conversation_id, reader)


async def test_losing_all_of_redis_makes_a_pause_and_no_gap(
    start_service: StartService, redis: ArqRedis
) -> None:
    service = await start_service()
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
    assert await redis.exists(live_key(UUID(conversation_id)))
    await redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    listening = [
        asyncio.create_task(service.listen(conversation_id, who)) for who in (reader, Reader())
    ]
    service.stand_in.open_gate()
    for heard in await asyncio.gather(*listening):
        assert heard.answers == ["First then the rest"]


async def test_a_worker_that_dies_voids_its_text_and_another_answers(
    start_service: StartService,
) -> None:
    service = await start_service(worker={"parley_lease_seconds": 1, "parley_sweep_seconds": 0.2})
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
    await service.workers[0].kill()
    listening = asyncio.create_task(service.listen(conversation_id, reader))
    service.stand_in.open_gate()
    await service.another_worker()
    await listening
    (turn,) = reader.turns.values()
    assert (turn["status"], turn["attempt"]) == ("completed", 2)
    assert reader.answers == ["First then the rest"]
    history = await service.messages(conversation_id)
    assert [message["role"] for message in history["messages"]] == ["user", "assistant"]


async def test_a_worker_told_to_stop_hands_its_turn_over(start_service: StartService) -> None:
    service = await start_service(workers=2, worker={"parley_drain_seconds": 0.1})
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = await service.listen(conversation_id, until=lambda r: r.text == "First ")
    listening = asyncio.create_task(
        service.listen(
            conversation_id,
            reader,
            until=lambda r: [turn["attempt"] for turn in r.turns.values()] == [2],
        )
    )
    holder = service.workers[0] if _claimed(service.workers[0]) else service.workers[1]
    assert await holder.stop() == 0
    await listening
    service.stand_in.open_gate()
    await service.listen(conversation_id, reader)
    assert reader.answers == ["First then the rest"]


def _claimed(worker: Process) -> bool:
    return "turn_claimed" in worker.log.read_text()


async def test_the_first_bytes_leave_at_once(service: Service) -> None:
    conversation_id = await service.conversation()
    async with open_stream(service.url, conversation_id, service.person.headers) as pieces:
        assert b"retry: 2000" in await anext(pieces)


async def test_a_stream_is_told_of_the_shutdown_and_ends(start_service: StartService) -> None:
    service = await start_service(workers=0)
    conversation_id = await service.conversation()
    raw = b""
    async with open_stream(service.url, conversation_id, service.person.headers) as pieces:
        raw += await anext(pieces)
        service.api.send(signal.SIGTERM)
        async for piece in pieces:
            raw += piece
    assert [(e.name, e.data) for e in parse(raw)] == [("stream.closing", {"reason": "shutdown"})]
    assert await service.api.ended() == 0


async def test_a_stream_ends_with_its_token(service: Service) -> None:
    conversation_id = await service.conversation()
    token = make_token(service.api.settings, service.person.owner, seconds=3)
    headers = {"Authorization": f"Bearer {token}"}
    reader = Reader()
    await listen(service.url, conversation_id, headers, reader=reader, until=closed)
    assert reader.events[-1].data == {"reason": "unauthorized"}


async def test_a_stream_has_a_lifetime(start_service: StartService) -> None:
    service = await start_service(workers=0, api={"parley_stream_lifetime_seconds": 0.3})
    conversation_id = await service.conversation()
    reader = await service.listen(conversation_id, until=closed)
    assert reader.events[-1].data == {"reason": "lifetime"}


async def test_a_stream_ends_when_its_conversation_is_deleted(service: Service) -> None:
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    reader = Reader()
    listening = asyncio.create_task(service.listen(conversation_id, reader, until=closed))
    await until(lambda: listening.done() or reader.text == "First ")
    deleted = await service.client.delete(f"/api/chat/conversations/{conversation_id}")
    assert deleted.status_code == 204
    await listening
    assert reader.events[-1].data == {"reason": "deleted"}


async def test_a_viewer_who_goes_away_changes_nothing(service: Service) -> None:
    conversation_id = await service.conversation()
    await service.say(conversation_id, "gated First then the rest")
    await service.listen(conversation_id, until=lambda r: r.text == "First ")
    service.stand_in.open_gate()
    reader = await service.listen(conversation_id)
    assert reader.answers == ["First then the rest"]
    assert [turn["status"] for turn in reader.turns.values()] == ["completed"]
