"""`parley doctor` as people and machines see it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from cli.doctor import NEEDS_SETTINGS
from cli.main import app
from tests.fixtures.processes import free_port

# What the command sets for its children goes with the test.
CLEAN = {"DATABASE_URL": "", "REDIS_URL": "", "RES_OPTIONS": ""}


@pytest.fixture
def logging_kept() -> Generator[None]:
    """The command makes this process's own logging silent."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def run(folder: Path, *arguments: str, **environment: str) -> Result:
    runner = CliRunner(env=CLEAN | environment)
    done = runner.invoke(app, ["doctor", "--data-dir", str(folder), *arguments])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert "sesame" not in done.output
    return done


def found_in(done: Result) -> dict[str, dict[str, str]]:
    report = json.loads(done.stdout)
    assert report["ok"] == (done.exit_code == 0)
    return {check["check"]: check for check in report["checks"]}


@pytest.mark.usefixtures("logging_kept")
def test_a_newcomer_is_told_to_start_it(tmp_path: Path) -> None:
    done = run(tmp_path, "--json", "--url", f"http://127.0.0.1:{free_port()}")
    found = found_in(done)
    assert done.exit_code == 1
    assert "no `parley up` runs" in found["settings"]["said"]
    assert "Start `parley up`" in found["settings"]["remedy"]
    assert found["embedded"]["state"] == "ok"
    assert {found[name]["state"] for name in NEEDS_SETTINGS} == {"not checked"}


@pytest.mark.usefixtures("logging_kept")
def test_every_problem_of_the_settings_is_named_and_no_value(tmp_path: Path) -> None:
    wrong = {"DATABASE_URL": "sesame", "PARLEY_PORT": "sesame", "PARLEY_MAX_TURNS": "0"}
    found = found_in(run(tmp_path, "--json", **wrong))["settings"]
    assert found["state"] == "failure"
    for name in ("REDIS_URL", "PARLEY_PORT", "PARLEY_MAX_TURNS"):
        assert f"{name}: " in found["said"]
    assert ".env.example" in found["remedy"]


@pytest.mark.usefixtures("logging_kept")
def test_a_deployment_in_which_nothing_works_is_told_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words that people read, and by the processes that only the command starts."""
    # They load for long where others work too.
    monkeypatch.setattr("cli.doctor_children.API_SECONDS", 60)
    done = run(
        tmp_path,
        *("--model-seconds", "60"),
        DATABASE_URL="postgresql://u:sesame@127.0.0.1:1/x",
        REDIS_URL="redis://:sesame@127.0.0.1:1/0",
        OPENAI_BASE_URL="http://127.0.0.1:1/v1/sesame",
        OPENAI_API_KEY="sesame",
        PARLEY_JWT_SECRET="sesame",
        PARLEY_PORT=str(free_port()),
    )
    assert done.exit_code == 1
    assert re.search(r"^ok +settings +valid, those of this environment$", done.stdout, re.M)
    assert re.search(r"^failure +postgres .*\n +→ Start Postgres", done.stdout, re.M)
    assert re.search(r"^failure +redis .*\n +→ Start Redis", done.stdout, re.M)
    assert re.search(r"^failure +model .*model_unreachable\n +→ ", done.stdout, re.M)
    assert re.search(r"^failure +api .*at least 32 bytes\n +→ Correct", done.stdout, re.M)
    assert "Postgres is away; nor row security, migrations" in done.stdout
    assert "4 failures, 0 warnings" in done.stdout
