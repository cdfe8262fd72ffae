"""The span of a request, whose trace it goes on with, and what it costs where nobody is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from structlog.testing import capture_logs

from shared.connection import EVERYONE
from shared.db import Database
from shared.settings import Settings
from shared.spans import Fact
from tests.api.talk import begin, say
from tests.fixtures.collector import Recording
from tests.fixtures.processes import ROOT
from tests.fixtures.settings import environment

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"
NONE_THAT_IS_ONE = [
    f"00-{'0' * 32}-00f067aa0ba902b7-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"01-{TRACE}-00f067aa0ba902b7-01",
    f"ff-{TRACE}-00f067aa0ba902b7-01",
    f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
    f"{GOOD}-more",
    f"{GOOD} ",
    GOOD[:-1],
    "",
    "x" * 5000,
]
UNTOLD = """
import os, sys
from api.main import main
from shared.settings import load_settings
from shared.tracing import begin_tracing

assert not begin_tracing(load_settings(), process="api")
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
os.environ["OTEL_SDK_DISABLED"] = "true"
assert not begin_tracing(load_settings(), process="api")
del os.environ["OTEL_SDK_DISABLED"]
print(*[name for name in sys.modules if name.startswith("opentelemetry")])
sys.modules["opentelemetry.sdk"] = None  # as where the extra is not installed
for endpoint in ("http://127.0.0.1:1", "collector:4317"):
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    print(main())
del sys.modules["opentelemetry.sdk"]
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = "0"
print(main())
"""


async def stored(db: Database) -> list[str | None]:
    async with db.snapshot(EVERYONE) as tx:
        rows = await tx.all(text("SELECT traceparent FROM turns ORDER BY created_at"))
    return [row.traceparent for row in rows]


async def test_a_turn_keeps_the_trace_of_its_request(
    client: AsyncClient, db: Database, recording: Recording
) -> None:
    conversation = await begin(client)
    client.headers["traceparent"] = GOOD
    await say(client, conversation, "x")
    client.headers["traceparent"] = GOOD[:-1] + "0"
    await say(client, conversation, "x")
    told, unwanted = await stored(db)
    post = recording.end().one(
        "POST /api/chat/conversations/{conversation_id}/messages",
    )
    assert post.parent_id == GOOD[36:52]
    assert told == f"00-{TRACE}-{post.span_id}-01"
    # Its caller doesn't want it kept: nobody is told, and the worker hears of that.
    assert unwanted is not None
    assert (unwanted[:36], unwanted[-3:]) == (GOOD[:36], "-00")


async def test_a_traceparent_that_is_none_is_ignored(
    client: AsyncClient, db: Database, recording: Recording
) -> None:
    conversation = await begin(client)
    for given in NONE_THAT_IS_ONE:
        client.headers["traceparent"] = given
        await say(client, conversation, "x")
    twice = [("traceparent", GOOD), ("traceparent", GOOD)]
    path = f"/api/chat/conversations/{conversation['id']}/messages"
    del client.headers["traceparent"]
    assert (await client.post(path, json={"content": "x"}, headers=twice)).status_code == 202
    found = await stored(db)
    assert len(found) == len(NONE_THAT_IS_ONE) + 1
    assert all(each and len(each) == len(GOOD) and TRACE not in each for each in found)
    assert TRACE not in {span.trace_id for span in recording.end().spans}


async def test_without_a_collector_nothing_is_kept(client: AsyncClient, db: Database) -> None:
    conversation = await begin(client)
    client.headers["traceparent"] = GOOD
    with capture_logs() as lines:
        await say(client, conversation, "x")
    assert await stored(db) == [None]
    assert not [line for line in lines if "trace_id" in line]


async def test_what_a_client_makes_up_is_in_no_name(
    client: AsyncClient, recording: Recording
) -> None:
    await client.request("WORDS", "/words?words=words")
    await client.head("/health/ready")
    await client.get("/health")
    collector = recording.end()
    (span,) = collector.spans
    assert span.facts[Fact.METHOD] == "_OTHER"
    assert span.facts[Fact.STATUS] in (404, 405)
    assert not [body for body in collector.bodies if b"ords" in body]


def test_an_api_that_tells_nobody_loads_nothing_of_it_and_one_that_cant_doesnt_start(
    alone: Settings,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNTOLD],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment(alone),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["", "2", "2", "2"], done.stderr
    assert done.stderr.splitlines() == [
        "OTEL_EXPORTER_OTLP_ENDPOINT: traces need the extra `otlp`: pip install 'parley[otlp]'",
        "OTEL_EXPORTER_OTLP_ENDPOINT: an http or https address is needed",
        "OTEL_…: a setting of the exporter is none that it knows",
    ]
