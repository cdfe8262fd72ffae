"""One trace from the request to the turn's end, told to a collector by real processes."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from shared.spans import Fact
from tests.attacks.test_calls_home import foreign
from tests.fixtures.collector import Collector
from tests.fixtures.nursery import Nursery
from tests.fixtures.processes import Process
from tests.fixtures.service import Service, StartService
from tests.fixtures.sse import Reader
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"
MARKER = "wordsofsomebody"
TREE = """\
POST /api/chat/conversations/{conversation_id}/messages
  queued
  turn
    invoke_agent Parley
      chat stand-in
      commit calls
      execute_tool unknown
        commit result
      execute_tool create_task
        commit result
      execute_tool create_task
        commit result
      chat stand-in
    commit end"""
STOP_SECONDS = 6.0
"""The exporter by itself would wait for ten, at the least."""


def lines_of(process: Process, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


async def say_in_trace(service: Service, content: str, **query: Any) -> str:
    conversation_id = await service.conversation()
    answer = await service.client.post(
        f"/api/chat/conversations/{conversation_id}/messages",
        json={"content": content},
        params=query,
        headers={"traceparent": CALLER, "tracestate": f"x={MARKER}"},
    )
    assert answer.status_code in (200, 202)
    return conversation_id


async def test_a_trace_runs_from_the_callers_request_to_the_turns_end(
    start_service: StartService, collector: Collector
) -> None:
    service = await start_service(api=collector.settings, worker=collector.settings)
    tasks = f'call create_task {{"title": "{MARKER}"}}\ncall create_task {{"{MARKER}": 1}}'
    conversation_id = await say_in_trace(service, f"{tasks}\ncall {MARKER} {{}}", wait=20)
    await service.listen(conversation_id)
    await service.client.get("/health")
    # The provider's error repeats all of that, and the key.
    await service.say(conversation_id, "status 401", wait=20)
    stopped = await asyncio.gather(*(process.stop() for process in service.processes))
    assert set(stopped) == {0}
    spans = collector.spans
    turn, broken = collector.named("turn")
    assert turn.trace_id == TRACE
    assert collector.tree(TRACE) == TREE
    assert {span.service for span in spans} == {"parley-api", "parley-worker"}
    request = next(span for span in spans if span.span_id == turn.parent_id)
    assert (request.service, request.facts[Fact.STATUS]) == ("parley-api", 200)
    assert request.facts[Fact.TURN] == turn.facts[Fact.TURN]
    assert turn.facts[Fact.CONVERSATION] == conversation_id
    assert (turn.facts[Fact.OUTCOME], turn.facts[Fact.ATTEMPT]) == ("completed", 1)
    assert (broken.facts[Fact.OUTCOME], broken.failed) == ("failed", True)
    chat = collector.named("chat stand-in")[0]
    assert chat.moments == []
    assert chat.facts[Fact.FINISH] == ["tool_calls"]
    assert chat.facts[Fact.INPUT_TOKENS] > 0
    assert collector.named("commit end")[0].moments == ["committed"]
    assert not [span for span in spans if "health" in span.name]
    expect_nothing_that_was_said(collector, service)
    expect_told_to_nobody_else(service, collector)
    (ended, _) = lines_of(service.workers[0], "turn_ended")
    posted = [line for line in lines_of(service.api, "http_request") if line["status"] == 200]
    assert ended["trace_id"] == TRACE
    assert TRACE in {line.get("trace_id") for line in posted}


def expect_nothing_that_was_said(collector: Collector, service: Service) -> None:
    assert not [body for body in collector.bodies if MARKER.encode() in body]
    told = b"".join(collector.bodies)
    assert service.person.owner.encode() not in told
    assert service.person.token.encode() not in told
    assert b"sk-stand-in" not in told
    assert {fact for span in collector.spans for fact in span.facts} <= set(Fact)


def expect_told_to_nobody_else(service: Service, collector: Collector) -> None:
    """The Agents SDK's vendor above all, now that it makes spans."""
    settings = service.workers[0].settings
    here = collector.url.removeprefix("http://")
    spoken_to = {place for process in service.processes for place in process.spoken_to}
    assert here in spoken_to
    assert foreign(spoken_to - {here}, settings) == set()


async def test_a_second_attempt_is_in_the_same_trace(
    start_service: StartService, collector: Collector
) -> None:
    service = await start_service(
        api=collector.settings,
        worker=collector.settings | {"parley_lease_seconds": 1, "parley_sweep_seconds": 0.2},
    )
    conversation_id = await say_in_trace(service, "gated First then the rest")
    reader = Reader()
    listening = asyncio.create_task(service.listen(conversation_id, reader))
    await until(lambda: reader.text)
    await service.workers[0].kill()
    service.stand_in.open_gate()
    second = await service.another_worker()
    await listening
    assert reader.answers == ["First then the rest"]
    await asyncio.gather(service.api.stop(), second.stop())
    turn = collector.one("turn")
    assert turn.trace_id == TRACE
    assert (turn.facts[Fact.ATTEMPT], turn.facts[Fact.CAUSE]) == (2, "takeover")
    assert collector.tree(TRACE).endswith(
        "\n  turn\n    invoke_agent Parley\n      chat stand-in\n    commit end"
    )
    stream = collector.one("GET /api/chat/conversations/{conversation_id}/events")
    assert stream.ended < turn.began, "the span of a stream lasts as long as the stream"


async def test_a_collector_that_hangs_keeps_nobody(
    start_service: StartService, collector: Collector
) -> None:
    collector.answering.clear()
    service = await start_service(api=collector.settings, worker=collector.settings)
    await say_in_trace(service, "say hello", wait=20)
    for process in service.processes:
        process.send(signal.SIGTERM)
    ends = [process.ended(seconds=STOP_SECONDS) for process in service.processes]
    assert await asyncio.gather(*ends) == [0, 0]
    assert collector.requests
    assert collector.bodies == []


def test_a_worker_that_tells_nobody_loads_the_interface_alone(nursery: Nursery) -> None:
    """Its library for the tools of others does that, for spans that nobody keeps."""
    loaded = nursery.loaded("opentelemetry")
    assert "opentelemetry.trace" in loaded
    assert {name.split(".")[1] for name in loaded if "." in name}.isdisjoint(
        {"sdk", "exporter", "proto"}
    )
