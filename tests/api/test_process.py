"""The API as it runs in production: a process of its own, real sockets, real signals."""

from __future__ import annotations

import asyncio
import json
import resource
import time

import psutil
import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from shared.settings import Environment, Settings
from tests.api.talk import begin, expect_problem, messages_of, path_of, say
from tests.fixtures.people import Person
from tests.fixtures.processes import StartOne, StartProcess, free_port
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def test_it_ends_at_once_even_with_open_streams_and_waiting_readers(
    api_process: StartOne, alice: Person
) -> None:
    api = await api_process()
    async with AsyncClient(base_url=api.url, headers=alice.headers, timeout=30) as client:
        conversation = await begin(client)
        await say(client, conversation, "hello")
        reading = asyncio.create_task(
            client.get(messages_of(conversation), params={"since": 3, "wait": 30})
        )
        events = f"{path_of(conversation)}/events"
        async with client.stream("GET", events, params={"since": 0}) as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            assert stream.headers["x-accel-buffering"] == "no"
            lines = stream.aiter_lines()
            seen = [await anext(lines) for _ in range(3)]
            assert "retry: 2000" in seen
            began = time.monotonic()
            code = await api.stop()
            took = time.monotonic() - began
            rest = [line async for line in lines]
        assert code == 0
        assert took < 2.0
        assert 'data: {"reason":"shutdown"}' in rest
        answer = await reading
        assert (answer.status_code, answer.json()["next_since"]) == (200, 3)
    log = api.log.read_text()
    assert "Traceback" not in log
    assert "request_error" not in log
    assert "process_crashed" not in log


async def test_a_large_body_is_refused_before_it_is_read(
    api_process: StartOne, alice: Person
) -> None:
    api = await api_process()
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        conversation = await begin(client)
        answer = await client.post(
            messages_of(conversation),
            content=b'{"content": "' + b"x" * 300_000 + b'"}',
            headers={"Content-Type": "application/json"},
        )
        expect_problem(answer, 413, "body_too_large")
        assert "server" not in answer.headers


async def test_head_is_answered_without_a_single_byte_of_a_body(
    api_process: StartOne, alice: Person
) -> None:
    """Not even the end of a chunked body: the next answer on the connection would be garbled."""
    api = await api_process()
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        conversation = await begin(client)
    for path in ("/health", "/schema", f"{path_of(conversation)}/events"):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.settings.parley_port)
        lines = (f"HEAD {path} HTTP/1.1", "Host: parley.test", "Connection: close")
        lines += (f"Authorization: Bearer {alice.token}", "", "")
        writer.write("\r\n".join(lines).encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b""


async def test_its_log_is_one_json_object_a_line(api_process: StartOne, alice: Person) -> None:
    api = await api_process()
    async with AsyncClient(base_url=api.url, headers=alice.headers) as client:
        answer = await client.get("/api/tasks")
    await api.stop()
    lines = [json.loads(line) for line in api.log.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("route") == "/api/tasks"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["status"], line["process"]) == ("GET", 200, "api")
    assert line["duration_ms"] >= 0


async def test_it_refuses_to_start_unsafe_and_names_every_problem(
    start_process: StartProcess, settings: Settings
) -> None:
    weak = {"parley_env": Environment.production, "parley_jwt_secret": SecretStr("hunter2")}
    process = start_process("api.main", settings.model_copy(update=weak))
    assert await process.ended() == 2
    log = process.log.read_text()
    assert "PARLEY_JWT_SECRET" in log
    assert "hunter2" not in log
    assert "Traceback" not in log
    wrong = {"parley_port": 70_000, "database_pool_size": 0}
    process = start_process("api.main", settings.model_copy(update=wrong))
    assert await process.ended() == 2
    assert "PARLEY_PORT" in process.log.read_text()
    assert "DATABASE_POOL_SIZE" in process.log.read_text()


async def test_it_takes_all_the_open_files_that_its_account_may_have(
    start_process: StartProcess, settings: Settings
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        changed = settings.model_copy(update={"parley_port": free_port()})
        api = psutil.Process(start_process("api.main", changed).pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: api.rlimit(psutil.RLIMIT_NOFILE) == (hard, hard))
