"""What the span of an attempt says, however the attempt ends; and who never waits for it."""

from __future__ import annotations

import asyncio

import pytest
from agents.tracing import SpanError
from agents.tracing.provider import DefaultTraceProvider
from agents.tracing.span_data import (
    AgentSpanData,
    CustomSpanData,
    GuardrailSpanData,
    HandoffSpanData,
)
from httpx import AsyncClient

from shared import tracing
from shared.spans import Fact, Kind, entry
from tests.fixtures.collector import Collector, Recording
from tests.fixtures.interruptions import Rig, let_lease_run_out
from tests.fixtures.office import SEND, Office
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.sdk_spans import SdkSpans
from worker.steps import Step

pytestmark = pytest.mark.anyio

TASK = 'call create_task {"title": "x"}'


def attempts(collector: Collector) -> list[tuple[int, str, str]]:
    return [
        (turn.facts[Fact.ATTEMPT], turn.facts[Fact.CAUSE], turn.facts.get(Fact.OUTCOME, ""))
        for turn in collector.named("turn")
    ]


async def test_the_spans_of_a_zombie_say_that_it_lost_the_turn(
    desk: Desk, rigged: Rig, recording: Recording
) -> None:
    conversation_id = await desk.conversation()
    with entry(Kind.REQUEST, "POST", traceparent=None):
        await desk.say(conversation_id, TASK)
    first, second = await desk.worker(), await desk.worker()
    rigged.freeze(at=Step.MODEL_ANSWERED)
    zombie = asyncio.create_task(first.run_head(conversation_id))
    await until(rigged.reached.is_set)
    await let_lease_run_out(desk.db, first)
    await second.run_all(conversation_id)
    rigged.released.set()
    await zombie
    collector = recording.end()
    assert attempts(collector) == [(1, "new", "turn_lost"), (2, "takeover", "completed")]
    assert len({span.trace_id for span in collector.spans}) == 1
    *committed, lost = collector.named("commit calls")
    assert (lost.moments, lost.facts, lost.failed) == ([], {Fact.ERROR: "LeaseLost"}, True)
    assert [span.moments for span in committed] == [["committed"]]


async def test_a_retry_and_a_decision_go_on_with_the_trace_of_the_first_request(
    office: Office, client: AsyncClient, recording: Recording
) -> None:
    said = await office.ask(SEND)
    (call,) = await office.calls()
    assert (await office.decide(said, call, "approve")).status_code < 300
    await office.run()
    refused = await office.ask("refuse that")
    again = await client.post(f"/api/chat/turns/{refused['id']}/retry")
    assert again.status_code == 202
    await office.run()
    collector = recording.end()
    assert attempts(collector) == [
        (1, "new", "awaiting_approval"),
        (2, "resumed", "completed"),
        (1, "new", "failed"),
        (2, "retried", "failed"),
    ]
    asked, decided, failed, retried = collector.named("turn")
    assert asked.trace_id == decided.trace_id != failed.trace_id == retried.trace_id
    assert [span.trace_id for span in collector.named("queued")] == [
        *(asked.trace_id, failed.trace_id, failed.trace_id)
    ]
    (post,) = [span for span in collector.spans if span.name.endswith("/retry")]
    assert post.facts[Fact.TURN] == retried.facts[Fact.TURN]
    assert post.trace_id != retried.trace_id


async def test_a_turn_doesnt_wait_for_a_collector_that_hangs(
    desk: Desk, collector: Collector, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.end()
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    recording.begin()
    collector.answering.clear()
    await desk.ask("say that the collector is being told of")
    await until(lambda: collector.requests)
    turn, _ = await desk.ask(TASK)
    assert turn.status == "completed"
    # Who waited would have been let go by the exporter, after ten seconds for each of them.
    assert collector.requests < 4
    assert collector.bodies == []
    collector.answering.set()


async def test_a_turn_doesnt_wait_for_a_collector_that_is_away(
    desk: Desk, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.end()
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.1)
    recording.settings = recording.settings.model_copy(
        update={"otel_exporter_otlp_endpoint": "http://127.0.0.1:1"}
    )
    recording.begin()
    turn, _ = await desk.ask(TASK)
    assert turn.status == "completed"
    ending = asyncio.create_task(asyncio.to_thread(recording.end))
    await until(ending.done, seconds=5)  # the exporter tries again for longer


def test_the_sdk_tells_of_agents_guardrails_and_handoffs_and_of_nothing_else(
    recording: Recording,
) -> None:
    provider = DefaultTraceProvider()
    provider.set_processors([SdkSpans()])
    provider.set_disabled(False)
    private: SpanError = {"message": "private", "data": {"said": "private"}}
    with (
        entry(Kind.TURN, traceparent=None),
        provider.create_trace("private"),
        provider.create_span(AgentSpanData("Parley", tools=["private"])) as agent,
    ):
        agent.set_error(private)
        with provider.create_span(GuardrailSpanData("polite", triggered=True)) as guardrail:
            guardrail.set_error(private)
            with provider.create_span(HandoffSpanData("Parley", None)) as handoff:
                handoff.set_error(private)
                handoff.span_data.to_agent = "Other"
        with provider.create_span(CustomSpanData("private", {"private": "private"})):
            pass
        provider.create_span(HandoffSpanData("Parley", None)).start()
    collector = recording.end()
    (turn,) = collector.named("turn")
    assert collector.tree(turn.trace_id) == (
        "turn\n  invoke_agent Parley\n    guardrail polite\n      handoff Other\n    handoff"
    )
    assert collector.one("guardrail polite").facts == {Fact.ERROR: "guardrail_tripped"}
    assert not [body for body in collector.bodies if b"private" in body]
