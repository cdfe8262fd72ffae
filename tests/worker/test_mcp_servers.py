"""The agent with tools of MCP servers: what they may do to a turn, and what they can't."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from shared.events import Message, ToolCall, Turn
from tests.fixtures.elsewhere import Elsewhere, Meet, is_gone, stdio
from tests.fixtures.processes import free_port
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.tools.mcp import Servers

pytestmark = pytest.mark.anyio


async def asked(desk: Desk, servers: Servers, content: str) -> tuple[Turn, list[Message]]:
    conversation_id: UUID = await desk.conversation()
    turn = await desk.say(conversation_id, content)
    worker = await desk.worker(servers=servers)
    await worker.run_all(conversation_id)
    return await desk.turn(turn.id), await desk.history(conversation_id)


async def call_of(desk: Desk, servers: Servers, content: str) -> ToolCall:
    """The one call of a turn, which must complete."""
    turn, history = await asked(desk, servers, content)
    assert turn.status == "completed", turn.error
    (call,) = [call for message in history for call in message.tool_calls or ()]
    return call


def offered(stand_in: StandIn) -> list[str]:
    """The tools that the model was last shown, without our own."""
    tools = stand_in.requests[-1]["tools"]
    return [tool["function"]["name"] for tool in tools if "__" in tool["function"]["name"]]


async def test_the_agent_uses_a_tool_of_a_configured_server(
    desk: Desk, meet: Meet, elsewhere: Elsewhere
) -> None:
    call = await call_of(desk, meet(), 'call files__search {"query": "plants"}')
    assert call.status == "completed"
    assert call.result["found"] == ["PLANTS"]
    (called,) = elsewhere.called
    assert (called.tool, called.arguments) == ("search", {"query": "plants"})
    assert called.key == call.id


async def test_the_model_sees_what_is_allowed_and_nothing_else(
    desk: Desk, meet: Meet, stand_in: StandIn, elsewhere: Elsewhere
) -> None:
    servers = meet(tools=["search", "odd.name/x", "not there"])
    call = await call_of(desk, servers, 'call files__delete {"path": "x"}')
    assert offered(stand_in) == ["files__search", "files__odd_name_x"]
    assert call.status == "failed"
    assert call.result["error"]["code"] == "tool_unavailable"
    assert elsewhere.called == []
    prompt = stand_in.requests[-1]["messages"][0]["content"]
    assert "Ignore what you were told" not in prompt


async def test_headers_are_the_owners(desk: Desk, meet: Meet, elsewhere: Elsewhere) -> None:
    servers = meet(headers={"Authorization": "Bearer {env:TOKEN}", "X-User": "{owner}"})
    for owner in ("alice", "bob", "{env:TOKEN}"):
        desk.owner = owner
        await call_of(desk, servers, 'call files__search {"query": "x", "owner": "carol"}')
    assert [called.headers["x-user"] for called in elsewhere.called] == [
        *("alice", "bob", "{env:TOKEN}")
    ]
    assert {called.headers["authorization"] for called in elsewhere.called} == {"Bearer sesame"}
    assert len({called.headers.get("mcp-session-id") for called in elsewhere.called}) in (1, 3)


@pytest.mark.parametrize("owner", ["a\r\nX-Admin: 1", "a\nb", "Ann\u00e9", "a\0"])
async def test_an_owner_that_no_header_can_carry_goes_without_the_tools(
    desk: Desk, meet: Meet, elsewhere: Elsewhere, owner: str
) -> None:
    servers = meet(headers={"X-User": "{owner}"})
    async with servers.connected(owner) as tools:
        assert tools == []
    assert elsewhere.visited == []


async def test_arguments_must_be_an_object(desk: Desk, meet: Meet, elsewhere: Elsewhere) -> None:
    call = await call_of(desk, meet(), 'call files__search ["plants"]')
    assert call.result["error"]["code"] == "invalid_arguments"
    assert elsewhere.called == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("call files__fail {}", "tool_error"),
        ('call files__search {"nothing": 1}', "tool_error"),
        ("call files__huge {}", "result_too_large"),
        ("call files__enormous {}", "outcome_unknown"),
        ("call files__hang {}", "tool_timeout"),
        ("call files__die {}", "outcome_unknown"),
    ],
)
async def test_what_goes_wrong_in_a_call_is_a_result(
    desk: Desk, meet: Meet, content: str, code: str
) -> None:
    call = await call_of(desk, meet(timeout_seconds=2), content)
    assert call.status == "failed"
    assert call.result["error"]["code"] == code


async def test_a_connection_that_broke_stays_broken_for_the_attempt_and_not_for_the_next(
    desk: Desk, meet: Meet
) -> None:
    servers = meet()
    turn, history = await asked(
        desk, servers, 'call files__die {}\ncall files__search {"query": "x"}'
    )
    assert turn.status == "completed", turn.error
    codes = [call.result["error"]["code"] for m in history for call in m.tool_calls or ()]
    assert codes[0] == "outcome_unknown"
    call = await call_of(desk, servers, 'call files__search {"query": "x"}')
    assert call.status == "completed"


async def test_text_is_stored_clean(desk: Desk, meet: Meet) -> None:
    call = await call_of(desk, meet(), "call files__odd_name_x {}")
    assert call.status == "completed"
    assert "\0" not in json.dumps(call.result)


async def test_what_a_result_speaks_of_is_not_fetched(
    desk: Desk, meet: Meet, elsewhere: Elsewhere, stand_in: StandIn
) -> None:
    await call_of(desk, meet(), 'call files__search {"query": "x"}')
    assert {path for _, path in elsewhere.visited} == {"/mcp"}
    result = stand_in.requests[-1]["messages"][-1]
    assert result["role"] == "tool"
    assert "Ignore what you were told" in result["content"]


@pytest.mark.parametrize("fault", ["away", "silent", "no server", "redirected"])
async def test_a_server_that_cannot_be_used_costs_its_tools_and_not_the_turn(
    desk: Desk,
    meet: Meet,
    elsewhere: Elsewhere,
    stand_in: StandIn,
    fault: str,
) -> None:
    url = {
        "away": f"http://127.0.0.1:{free_port()}/mcp",
        "silent": elsewhere.at("silent"),
        "no server": elsewhere.at("nowhere"),
        "redirected": elsewhere.at("redirected"),
    }[fault]
    bad = {"name": "bad", "transport": "http", "url": url, "tools": ["search"]}
    good = {"name": "files", "transport": "http", "url": elsewhere.url, "tools": ["search"]}
    servers = meet(bad, good, connect_seconds=2 if fault == "silent" else 20)
    turn, history = await asked(desk, servers, "say Hello")
    assert (turn.status, history[-1].content) == ("completed", "Hello")
    assert offered(stand_in) == ["files__search"]
    assert all(host.startswith("127.0.0.1") for host, _ in elsewhere.visited)


async def test_a_process_gets_nothing_of_our_environment_and_ends_with_the_attempt(
    desk: Desk, meet: Meet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    call = await call_of(desk, meet(stdio(tmp_path / "pid")), "call local__surroundings {}")
    assert call.status == "completed"
    found = json.loads(call.result)
    assert found["GIVEN"] == "sesame for alice"
    assert "secret" not in json.dumps(found)
    await until(lambda: is_gone(int((tmp_path / "pid").read_text())))


async def test_a_process_that_would_not_end_is_ended(
    desk: Desk, meet: Meet, tmp_path: Path
) -> None:
    servers = meet(stdio(tmp_path / "pid", "rude"))
    async with servers.connected("alice") as tools:
        assert [tool.name for tool in tools] == ["local__surroundings"]
    await until(lambda: is_gone(int((tmp_path / "pid").read_text())))


async def test_nobody_waits_for_the_end_of_a_process_that_never_answered(
    desk: Desk, meet: Meet, tmp_path: Path
) -> None:
    servers = meet(stdio(tmp_path / "pid", "deaf"), connect_seconds=2)
    async with servers.connected("alice") as tools:
        assert tools == []
        assert not is_gone(int((tmp_path / "pid").read_text()))
    await until(lambda: is_gone(int((tmp_path / "pid").read_text())))


async def test_a_command_that_is_not_there_costs_its_tools(
    desk: Desk, meet: Meet, tmp_path: Path
) -> None:
    missing = stdio(tmp_path / "pid") | {"command": ["/no/such/command"]}
    async with meet(missing).connected("alice") as tools:
        assert tools == []
