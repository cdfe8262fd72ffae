"""What `parley up` refuses before it starts anything, and what it makes of the environment."""

from __future__ import annotations

import socket
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.data_dir import DataDir
from cli.errors import CliError
from cli.main import app
from cli.plan import MODEL_NAMES, ROOMY, WAYS_IN, make_plan
from shared.settings import Settings


@pytest.fixture
def taken_port() -> Generator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in (*MODEL_NAMES, *WAYS_IN, "PARLEY_DEMO_URL", "PARLEY_ENV", "PARLEY_PAGE_USER"):
        monkeypatch.delenv(name, raising=False)


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, taken_port: int) -> None:
    result = CliRunner().invoke(app, ["up", "--port", str(taken_port), "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"Port {taken_port} on 127.0.0.1 can't be used" in result.stderr
    assert not (tmp_path / "postgres").exists()


def test_a_data_directory_in_use_is_told(tmp_path: Path) -> None:
    with DataDir(tmp_path).create().lock():
        result = CliRunner().invoke(app, ["up", "--port", "0", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "already running" in result.stderr


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    data = DataDir(tmp_path).create()
    with data.lock():
        pass
    with data.lock():
        assert (data.run / "lock").read_text()


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path / "file" / "data")])
    assert result.exit_code == 1
    assert "can't be used" in result.stderr


@pytest.mark.parametrize("given", ["5s", "-1", "nan"])
def test_a_drain_that_is_no_time_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("PARLEY_DRAIN_SECONDS", given)
    with pytest.raises(CliError, match="PARLEY_DRAIN_SECONDS"):
        make_plan("127.0.0.1", 0, 1, DataDir(tmp_path))


def test_without_a_model_the_demo_is_planned(tmp_path: Path) -> None:
    plan = make_plan("127.0.0.1", 0, 2, DataDir(tmp_path))
    assert plan.environment["PARLEY_DEMO_URL"] == f"http://127.0.0.1:{plan.demo_port}/v1"
    assert "PARLEY_MODEL" not in plan.environment
    assert "demo" in plan.model


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_with_a_model_or_a_key_there_is_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "something")
    plan = make_plan("127.0.0.1", 0, 2, DataDir(tmp_path))
    assert plan.demo_port is None
    assert "PARLEY_DEMO_URL" not in plan.environment


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")]
)
def test_the_address_shown_can_be_reached_from_here(tmp_path: Path, host: str, url: str) -> None:
    assert make_plan(host, 0, 2, DataDir(tmp_path)).base_url.startswith(url)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, True),
        ({"PARLEY_JWT_SECRET": "x"}, False),
        ({"PARLEY_JWKS_URL": "http://127.0.0.1:1/"}, True),
        ({"PARLEY_ENV": "production"}, True),
        ({"PARLEY_ENV": "production", "PARLEY_SESSIONS_TABLE": "user_sessions"}, False),
        ({"PARLEY_ENV": "production", "SERVICE_AUTH_TOKEN": "x"}, False),
    ],
    ids=str,
)
def test_a_secret_is_made_where_people_could_not_come_in_or_would_look_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], made: bool
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    plan = make_plan("127.0.0.1", 0, 1, DataDir(tmp_path).create())
    assert bool(plan.way_in()) is made
    assert (tmp_path / "secret").exists() is made


def test_on_ones_own_machine_the_limits_are_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_LIMIT_STREAMS", "7")
    environment = make_plan("127.0.0.1", 0, 1, DataDir(tmp_path)).environment
    assert environment["PARLEY_LIMIT_STREAMS"] == "7"
    assert ROOMY.keys() <= environment.keys()

    monkeypatch.setenv("PARLEY_ENV", "production")
    environment = make_plan("127.0.0.1", 0, 1, DataDir(tmp_path)).environment
    assert ROOMY.keys() & environment.keys() == {"PARLEY_LIMIT_STREAMS"}


@pytest.mark.parametrize(
    ("given", "option", "user"),
    [
        ({}, None, "developer"),
        ({}, "carol", "carol"),
        ({}, "", None),
        ({"PARLEY_PAGE_USER": "dave"}, "carol", "dave"),
        ({"PARLEY_ENV": "production"}, None, None),
        ({"PARLEY_ENV": "production"}, "carol", None),
    ],
    ids=str,
)
def test_the_page_opens_for_somebody_in_development_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    option: str | None,
    user: str | None,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    asked = {} if option is None else {"page_user": option}
    plan = make_plan("127.0.0.1", 0, 1, DataDir(tmp_path), **asked)
    assert (plan.environment.get("PARLEY_PAGE_USER") or None) == user
    assert plan.page_user == (user or "")


@pytest.mark.parametrize(
    ("host", "user"),
    [("localhost", "developer"), ("0.0.0.0", "developer"), ("192.0.2.7", "")],
)
def test_nobody_is_told_to_be_signed_in_where_they_would_not_be(
    tmp_path: Path, host: str, user: str
) -> None:
    plan = make_plan("127.0.0.1", 0, 1, DataDir(tmp_path))
    assert replace(plan, host=host).page_user == user


def test_the_limits_of_ones_own_machine_are_settings() -> None:
    for name, value in ROOMY.items():
        assert int(value) > Settings.model_fields[name.lower()].default
