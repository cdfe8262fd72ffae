"""What a worker counts and times, and what it never names."""

from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest

from shared.errors import SettingsError
from shared.models import SCHEMA_REVISION
from shared.settings import Settings
from tests.fixtures.interruptions import let_lease_run_out
from tests.fixtures.metrics import Metrics
from tests.fixtures.processes import StartOne, free_port
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.sweep import renew
from worker.watched import Watched

pytestmark = pytest.mark.anyio

MARKER = "tulip_7391"


def grown(before: Metrics, name: str, **labels: str) -> float:
    return Metrics()(name, **labels) - before(name, **labels)


async def test_a_turn_is_timed_phase_by_phase(desk: Desk) -> None:
    before = Metrics()
    turn, _ = await desk.ask('call create_task {"title": "buy milk"}')
    assert turn.status == "completed"
    for phase in ("queue", "first_token", "answer", "total"):
        assert grown(before, "parley_turn_phase_seconds_count", phase=phase) == 1, phase
    assert grown(before, "parley_turns_claimed_total", cause="new") == 1
    assert grown(before, "parley_turns_ended_total", status="completed") == 1
    assert grown(before, "parley_model_call_seconds_count", outcome="answered") == 2
    assert grown(before, "parley_model_first_token_seconds_count") >= 1
    assert grown(before, "parley_model_tokens_total", direction="input") > 0
    assert grown(before, "parley_model_tokens_total", direction="output") > 0
    labels = {"tool": "create_task", "status": "completed"}
    assert grown(before, "parley_tool_call_seconds_count", **labels) == 1
    assert Metrics()("parley_worker_places") == desk.settings.parley_max_turns


async def test_pieces_of_text_are_counted_as_they_are_told(desk: Desk) -> None:
    before = Metrics()
    await desk.ask("slow 60 one two three four")
    assert grown(before, "parley_deltas_total") >= 2


async def test_failures_and_new_tries_are_told_by_code(desk: Desk) -> None:
    before = Metrics()
    await desk.ask("status 500", parley_model_retries=1)
    code = "model_unavailable"
    assert grown(before, "parley_turn_retries_total", cause=code) == 1
    assert grown(before, "parley_turns_claimed_total", cause="resumed") == 1
    assert grown(before, "parley_turns_failed_total", code=code) == 1
    assert grown(before, "parley_turns_ended_total", status="failed") == 1
    assert grown(before, "parley_model_call_seconds_count", outcome=code) == 2


async def test_a_takeover_is_one_and_the_late_holder_has_lost(desk: Desk) -> None:
    before = Metrics()
    conversation_id = await desk.conversation()
    await desk.say(conversation_id, "hang")
    silent = await desk.worker()
    late = asyncio.create_task(silent.run_head(conversation_id))
    await until(lambda: silent.held)
    assert Metrics()("parley_worker_turns") == 1
    await let_lease_run_out(desk.db, silent)
    heir = await desk.worker()
    taken = asyncio.create_task(heir.run_head(conversation_id))
    await until(lambda: heir.held)
    await renew(desk.db, desk.settings, silent)
    await late
    assert grown(before, "parley_turns_claimed_total", cause="takeover") == 1
    assert grown(before, "parley_turns_lost_total") == 1
    taken.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taken
    assert grown(before, "parley_turn_retries_total", cause="drain") == 1


async def test_no_label_has_what_people_or_models_say(desk: Desk) -> None:
    """Nor whose it is, nor which conversation."""
    desk.owner = f"owner-{MARKER}"
    turn, _ = await desk.ask(f'call {MARKER} {{"{MARKER}": "{MARKER}"}}')
    assert turn.status == "completed"
    found = Metrics()
    assert found("parley_tool_call_seconds_count", tool="unknown", status="failed") >= 1
    assert MARKER not in found.text
    assert str(turn.id) not in found.text
    assert str(turn.conversation_id) not in found.text


async def test_a_worker_answers_at_its_own_port(worker_process: StartOne) -> None:
    port = free_port()
    await worker_process(parley_metrics_port=port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        found = Metrics((await client.get("/metrics")).text)
        health = await client.get("/health")
        nothing = await client.get("/other")
    assert found("parley_worker_places") == 50
    assert ("schema", SCHEMA_REVISION) in found.labels
    assert "parley_workers" not in found.names  # what is said of the service, the APIs say
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert nothing.status_code == 404


async def test_a_worker_that_is_stuck_says_so(settings: Settings) -> None:
    here = settings.model_copy(update={"parley_metrics_port": free_port()})
    watch = Watched(here, beat_seconds=0.02, stuck_seconds=0.5)
    url = f"http://127.0.0.1:{here.parley_metrics_port}/health"
    try:
        assert await asyncio.to_thread(health, url) == 200
        # The loop is stuck: nobody comes to anything but this look.
        deadline = time.monotonic() + 10
        while (stuck := health(url)) == 200 and time.monotonic() < deadline:
            pass
        assert stuck == 503
        await until(lambda: health(url) == 200)
    finally:
        await watch.close()


def health(url: str) -> int:
    return httpx.get(url, trust_env=False).status_code


async def test_a_port_that_is_taken_is_told(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        here = settings.model_copy(update={"parley_metrics_port": port})
        with pytest.raises(SettingsError, match="PARLEY_METRICS_PORT"):
            Watched(here)
