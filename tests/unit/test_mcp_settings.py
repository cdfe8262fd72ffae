"""Which MCP servers may be configured, and what is said of those that may not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError
from shared.settings import Environment
from tests.fixtures.settings import make_settings
from worker.tools.servers import HttpServer, Server, StdioServer, load_servers

ENVIRONMENT = {"TOKEN": "sesame", "LINES": "a\nb"}
HTTP = {"name": "files", "transport": "http", "url": "https://files.example/mcp", "tools": ["a"]}
STDIO = {"name": "local", "transport": "stdio", "command": ["/bin/x"], "tools": ["a"]}


def load(text: str, **others: Any) -> tuple[Server, ...]:
    settings = make_settings(
        "postgresql://x",
        "redis://x",
        parley_env=Environment.production,
        parley_mcp_servers=SecretStr(text),
        **others,
    )
    return load_servers(settings, ENVIRONMENT)


def loaded(*servers: dict[str, Any]) -> tuple[Server, ...]:
    return load(json.dumps({"servers": servers}))


def problems(*servers: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        loaded(*servers)
    return raised.value.problems


def test_without_a_setting_there_are_no_servers() -> None:
    assert load("") == ()


def test_both_kinds_are_read() -> None:
    headers = {"Authorization": "Bearer {env:TOKEN}", "X-User": "{owner}"}
    files, local = loaded(HTTP | {"headers": headers}, STDIO | {"env": {"FOR": "{owner}"}})
    assert isinstance(files, HttpServer)
    assert files.headers_for("alice", ENVIRONMENT) == {
        "Authorization": "Bearer sesame",
        "X-User": "alice",
    }
    assert isinstance(local, StdioServer)
    assert local.env_for("bob", ENVIRONMENT) == {"FOR": "bob"}
    assert files.shown("a.b/c") == "files__a_b_c"


def test_they_can_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"servers": [HTTP]}))
    (found,) = load("", parley_mcp_file=str(file))
    assert found.name == "files"
    with pytest.raises(SettingsError, match="only one of them"):
        load("{}", parley_mcp_file=str(file))
    with pytest.raises(SettingsError, match="PARLEY_MCP_FILE: FileNotFoundError"):
        load("", parley_mcp_file=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("text", ["{", "[]", '{"servers": {}}', '{"servers": [], "more": 1}'])
def test_what_is_not_of_the_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="PARLEY_MCP_SERVERS: not JSON of the form"):
        load(text)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Files"}, "a name is"),
        ({"name": "a__b"}, "a name is"),
        ({"tools": []}, "names none"),
        ({"tools": ["a.b", "a/b"]}, "files__a_b is there twice"),
        ({"tools": ["x" * 60]}, "too long"),
        ({"approval": ["b"]}, "`approval` names what"),
        ({"idempotent": ["b"]}, "`idempotent` names what"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"retries": 3}, "retries"),
        ({"transport": "carrier-pigeon"}, "transport"),
        ({"url": "http://files.example/mcp"}, "must be https"),
        ({"url": "http://127.0.0.1.files.example/"}, "must be https"),
        ({"url": "ftp://files.example/"}, "not an http(s) URL"),
        ({"url": "https://"}, "not an http(s) URL"),
        ({"url": "https://x:99999/"}, "not a URL"),
        ({"url": "https://me:hunter2@files.example/"}, "must have no user"),
        ({"headers": {"X-Token": "{env:NOWHERE}"}}, "X-Token: the environment has no NOWHERE"),
        ({"headers": {"X-Token": "{env:LINES}"}}, "X-Token: its value has more than one line"),
        ({"headers": {"Host": "x"}}, "no header that can be set"),
        ({"headers": {"X: y\r\nZ": "x"}}, "no header that can be set"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_with_its_name(
    changed: dict[str, Any], said: str
) -> None:
    (problem, *_) = problems(HTTP | changed)
    assert re.match("PARLEY_MCP_SERVERS: server (files|a__b|number 1): ", problem)
    assert said in problem
    assert "hunter2" not in problem


def test_all_problems_are_told_at_once_and_no_secret() -> None:
    found = problems(
        HTTP | {"headers": {"Authorization": 5, "X": "hunter2"}},
        STDIO | {"command": []},
        HTTP | {"name": "other", "headers": {"A": "{env:B}", "C": "{env:LINES}"}},
        HTTP | {"name": "other"},
    )
    assert len(found) == 5
    assert "hunter2" not in str(found)
    assert "a\nb" not in str(found)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost:80/"])
def test_this_machine_may_be_spoken_to_in_plain(url: str) -> None:
    assert loaded(HTTP | {"url": url})


def test_what_is_put_in_is_not_looked_into() -> None:
    (server,) = loaded(HTTP | {"headers": {"X": "{owner} {env:TOKEN}"}})
    assert isinstance(server, HttpServer)
    environment = ENVIRONMENT | {"TOKEN": "{owner}"}
    assert server.headers_for("{env:TOKEN}", environment) == {"X": "{env:TOKEN} {owner}"}
