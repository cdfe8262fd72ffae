"""`parley erase` at the terminal: its question, its receipt, and one sentence where it can't."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from cli.data_dir import DataDir
from cli.erase_command import settings_of
from cli.main import app
from cli.postgres import Postgres
from cli.valkey import Valkey
from shared.db import Database
from shared.redis import connect_redis
from shared.settings import Settings
from tests.fixtures.belongings import fill
from tests.fixtures.servers import with_database

SECRET = "the-word-in-the-address"


def test_the_command_asks_prints_a_receipt_and_exits_by_it(
    settings: Settings, database_url: str, redis_url: str
) -> None:
    async def prepare() -> UUID:
        db, redis = Database(settings), connect_redis(settings)
        conversation_id = await fill(db, redis, "alice")
        await redis.aclose(close_connection_pool=True)
        await db.close()
        return conversation_id

    conversation_id = asyncio.run(prepare())
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    run = CliRunner(env=environment).invoke
    for arguments in ([], ["--user", "a", "--conversation", "b"], ["--conversation", "b"]):
        assert run(app, ["erase", *arguments, "--yes"]).exit_code == 1
    refused = run(app, ["erase", "--user", "alice"], input="n\n")
    assert refused.exit_code == 1
    done = run(app, ["erase", "--conversation", str(conversation_id), "--yes", "--json"])
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert receipt["postgres"]["conversations"] == 1
    assert receipt["residue_postgres"] == receipt["residue_redis"] == {}
    assert receipt["not_touched"] == ["user_sessions"]
    shown = run(app, ["erase", "--user", "alice"], input="y\n")
    assert shown.exit_code == 0, shown.output
    assert "Left: 0" in shown.output
    assert "user_sessions" in shown.output
    assert "tasks" in shown.output


def test_what_can_not_be_used_is_told_in_a_sentence_and_without_its_secret(
    database_url: str, redis_url: str
) -> None:
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    nowhere = f"postgresql://{SECRET}"
    for changed, told in (
        ({"DATABASE_URL": SECRET}, "DATABASE_URL: it is no URL. Set"),
        ({"DATABASE_URL": f"{nowhere}@x:port/y"}, "DATABASE_URL: a host must be a name"),
        ({"DATABASE_URL": f"mysql://{SECRET}@x/y"}, "DATABASE_URL: it must begin with"),
        ({"DATABASE_URL": with_database(database_url, SECRET)}, "(InvalidCatalogNameError)"),
        ({"DATABASE_URL": with_database(database_url, "template1")}, "(UndefinedTableError)"),
        (
            {"DATABASE_URL": database_url.replace("//parley@", f"//{SECRET}@")},
            "(InvalidAuthorizationSpecificationError)",
        ),
        ({"REDIS_URL": f"{SECRET}:6379"}, "REDIS_URL: it is no URL. Set"),
    ):
        run = CliRunner(env=given | changed).invoke
        refused = run(app, ["erase", "--user", "alice", "--yes"])
        assert refused.exit_code == 1
        assert isinstance(refused.exception, SystemExit), (changed, refused.exception)
        assert told in refused.stderr
        assert SECRET not in refused.output
    refused = CliRunner(env=given).invoke(app, ["erase", "--user", "\udcff", "--yes"])
    assert isinstance(refused.exception, SystemExit)
    assert "--user is no name" in refused.stderr


def test_an_address_that_is_empty_is_none_and_that_of_the_running_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataDir(tmp_path).create()
    data.url_file.write_text("http://127.0.0.1:8000")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    settings = settings_of(data)
    assert settings.database_url.get_secret_value() == Postgres(data).url
    assert settings.redis_url.get_secret_value() == "redis://elsewhere"
    monkeypatch.setenv("REDIS_URL", "")
    assert settings_of(data).redis_url.get_secret_value() == Valkey(data).url
