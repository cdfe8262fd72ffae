"""Our to-do tools as an MCP server, used by the protocol's own client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import reduce
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import httpx2
import pytest
from httpx import AsyncClient
from litestar import Litestar
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from api.app import create_app
from shared.db import Database
from shared.settings import Settings
from shared.store.tasks import list_tasks
from tests.api.talk import expect_problem, get
from tests.api.test_fuzz_schema import expect_described
from tests.fixtures.http import speaking
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

URL = "http://parley.test/mcp"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"Accept": "application/json, text/event-stream"}
NAMES = ["create_task", "list_tasks", "update_task", "complete_task", "delete_task"]
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "somebody's agent", "version": "1"},
}
DEEP: list[Any] = reduce(lambda inner, _: [inner], range(400), list[Any]())
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "somebody's agent", "version": "1"},
}


@asynccontextmanager
async def agent_of(person: Person, app: Litestar, mode: str = "auto") -> AsyncGenerator[Client]:
    """An agent of somebody else's, with a token of the person's."""
    transport = httpx2.ASGITransport(app=app)  # pyright: ignore[reportArgumentType]
    async with (
        httpx2.AsyncClient(transport=transport, headers=person.headers) as http,
        Client(streamable_http_client(URL, http_client=http), mode=mode, cache=None) as agent,
    ):
        yield agent


def error_of(result: CallToolResult) -> str:
    assert result.is_error
    return result.structured_content["error"]["code"]


async def titles(db: Database, owner: str) -> list[str]:
    async with db.snapshot(owner) as tx:
        return [task.title for task in await list_tasks(tx, owner=owner, limit=9)]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_lists_the_tools_and_works_with_the_tasks(
    client: AsyncClient, app: Litestar, alice: Person, db: Database, mode: str
) -> None:
    async with agent_of(alice, app, mode) as agent:
        tools = (await agent.list_tools()).tools
        assert [tool.name for tool in tools] == NAMES
        assert tools[0].input_schema["required"] == ["title"]
        made = await agent.call_tool("create_task", {"title": "Water the plants"})
        assert not made.is_error
        assert made.structured_content["title"] == "Water the plants"
        task_id = made.structured_content["id"]
        await agent.call_tool("complete_task", {"task_id": task_id})
        listed = await agent.call_tool("list_tasks", {})
        assert [task["status"] for task in listed.structured_content["tasks"]] == ["completed"]
    assert await titles(db, "alice") == ["Water the plants"]


async def test_bob_never_sees_what_is_alices(
    client: AsyncClient, app: Litestar, alice: Person, bob: Person, db: Database
) -> None:
    async with agent_of(alice, app) as agent:
        made = await agent.call_tool("create_task", {"title": "private"})
        task_id = made.structured_content["id"]
    async with agent_of(bob, app) as agent:
        listed = await agent.call_tool("list_tasks", {})
        assert listed.structured_content["tasks"] == []
        for name in ("update_task", "complete_task", "delete_task"):
            assert error_of(await agent.call_tool(name, {"task_id": task_id})) == "task_not_found"
        named = await agent.call_tool("create_task", {"title": "x", "user_id": "alice"})
        assert error_of(named) == "invalid_arguments"
    assert await titles(db, "alice") == ["private"]
    assert await titles(db, "bob") == []


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("create_task", {}, "invalid_arguments"),
        ("create_task", {"title": 5}, "invalid_arguments"),
        ("create_task", {"title": "\0"}, "invalid_arguments"),
        ("create_task", {"title": "x" * 201}, "invalid_arguments"),
        ("complete_task", {"task_id": 2**80}, "invalid_arguments"),
        ("complete_task", {"task_id": "no id"}, "task_not_found"),
    ],
)
async def test_what_a_tool_cannot_do_is_a_result_and_changes_nothing(
    client: AsyncClient,
    app: Litestar,
    alice: Person,
    db: Database,
    name: str,
    arguments: dict[str, Any],
    code: str,
) -> None:
    async with agent_of(alice, app) as agent:
        assert error_of(await agent.call_tool(name, arguments)) == code
    assert await titles(db, "alice") == []


async def test_without_a_token_there_is_nothing(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    for method in ("POST", "GET", "DELETE"):
        answer = await client.request(method, "/mcp", json=PING, headers=ACCEPT)
        expect_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_there_is_no_session_and_no_stream(client: AsyncClient) -> None:
    asked = PING | {"method": "initialize", "params": INITIALIZE}
    answer = await client.post("/mcp", json=asked, headers=ACCEPT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["result"]["serverInfo"]["name"] == "parley"
    for method in ("GET", "DELETE"):
        problem = await client.request(method, "/mcp", headers=ACCEPT)
        expect_problem(problem, 405, "method_not_allowed")
        assert "POST" in problem.headers["allow"]


async def test_a_notification_is_taken_note_of(client: AsyncClient) -> None:
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answer = await client.post("/mcp", json=told, headers=ACCEPT)
    assert (answer.status_code, answer.content) == (202, b"")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_request"),
        (b"[]", {}, 400, "invalid_request"),
        (b'{"jsonrpc": "2.0", "id": 1}', {}, 400, "invalid_request"),
        (
            b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}',
            {},
            400,
            "invalid_request",
        ),
        (b'{"jsonrpc": "2.0", "id": 1.0, "method": "ping"}', {}, 400, "invalid_request"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b'{"x": "' + b"x" * 300_000 + b'"}', {}, 413, "body_too_large"),
    ],
)
async def test_what_is_no_message_is_a_problem_as_everywhere(
    client: AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    headers = ACCEPT | {"Content-Type": "application/json"} | headers
    expect_problem(await client.post("/mcp", content=body, headers=headers), status, code)


async def test_a_page_from_elsewhere_is_refused(settings: Settings, alice: Person) -> None:
    known = settings.model_copy(update={"parley_cors_origins": "https://parley.example"})
    async with speaking(create_app(known), alice) as client:
        for origin, status in {
            "https://evil.example": 403,
            "null": 403,
            "http://parley.test.evil.example": 403,
            "https://parley.example": 200,
            "http://parley.test": 200,
        }.items():
            answer = await client.post("/mcp", json=PING, headers=ACCEPT | {"Origin": origin})
            assert answer.status_code == status, origin
            if status == 403:
                expect_problem(answer, 403, "origin_refused")


async def test_a_call_that_postgres_cannot_take_is_an_error_without_details(
    client: AsyncClient, app: Litestar, alice: Person, database_url: str
) -> None:
    connection = await cast("Any", asyncpg).connect(database_url)  # as the tables' own owner
    await connection.execute("ALTER TABLE tasks RENAME TO elsewhere")
    await connection.close()
    async with agent_of(alice, app) as agent:
        with pytest.raises(Exception, match="Something went wrong") as raised:
            await agent.call_tool("list_tasks", {})
    assert "elsewhere" not in str(raised.value)
    assert "tasks" not in str(raised.value)


async def test_json_is_json_however_it_is_spelt(client: AsyncClient) -> None:
    for name in ("application/json", "Application/JSON", "application/json; charset=utf-8"):
        answer = await client.post("/mcp", json=PING, headers=ACCEPT | {"Content-Type": name})
        assert (answer.status_code, answer.json()["result"]) == (200, {}), name


async def test_it_is_described(client: AsyncClient) -> None:
    document = await get(client, "/schema/openapi.json")
    assert set(document["paths"]["/mcp"]) == {"post"}


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        (PING, {"MCP-Protocol-Version": "bogus"}, 400),
        (PING | {"params": {"deep": DEEP}}, {}, 400),
        (PING | {"jsonrpc": "1.0"}, {}, 400),
        (PING | {"params": {"_meta": META}}, {"MCP-Protocol-Version": VERSION}, 404),
        (PING, {"Accept": "text/html"}, 406),
    ],
)
async def test_what_the_protocol_refuses_is_described_too(
    client: AsyncClient, asked: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    headers = ACCEPT | {"Mcp-Method": "ping"} | headers
    answer = await client.post("/mcp", json=asked, headers=headers)
    assert answer.status_code == status, answer.text
    document = await get(client, "/schema/openapi.json")
    expect_described(answer, document["paths"]["/mcp"]["post"], document["components"])
