"""Development tokens are what the API takes, and are refused where they'd be a back door."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from cli.data_dir import DataDir
from cli.main import app
from cli.token import USER_MAX_CHARS
from shared.settings import Settings

SECRET = "s" * 48


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("PARLEY_ENV", "PARLEY_JWT_SECRET", "PARLEY_JWT_ISSUER", "PARLEY_JWT_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    return CliRunner()


def test_a_token_carries_the_claims_the_api_asks_for(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_JWT_SECRET", SECRET)
    result = runner.invoke(app, ["token", "--user", "alice", "--ttl", "60"])
    defaults = Settings.model_fields
    claims = jwt.decode(
        result.stdout.strip(),
        SECRET,
        algorithms=["HS256"],
        issuer=defaults["parley_jwt_issuer"].default,
        audience=defaults["parley_jwt_audience"].default,
    )
    assert result.exit_code == 0
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 60


def test_the_secret_of_the_data_directory_will_do(runner: CliRunner, tmp_path: Path) -> None:
    secret = DataDir(tmp_path).create().ensure_secret()
    result = runner.invoke(app, ["token", "--user", "bob", "--data-dir", str(tmp_path)])
    claims = jwt.decode(result.stdout.strip(), secret, algorithms=["HS256"], audience="parley")
    assert claims["sub"] == "bob"


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    data = DataDir(tmp_path).create()
    assert data.ensure_secret() == data.ensure_secret()
    assert data.secret_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("environment", "arguments", "sentence"),
    [
        ({"PARLEY_ENV": "production", "PARLEY_JWT_SECRET": SECRET}, [], "production"),
        ({}, [], "no secret"),
        ({"PARLEY_JWT_SECRET": SECRET}, ["--user", " "], "must not be empty"),
        ({"PARLEY_JWT_SECRET": SECRET}, ["--user", "x" * (USER_MAX_CHARS + 1)], "at most 255"),
        ({"PARLEY_JWT_SECRET": SECRET}, ["--ttl", "0"], "--ttl"),
    ],
)
def test_a_refusal_is_a_sentence_and_exit_code_1(
    runner: CliRunner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    arguments: list[str],
    sentence: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = runner.invoke(app, ["token", "--data-dir", str(tmp_path), *arguments])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert sentence in result.stderr
