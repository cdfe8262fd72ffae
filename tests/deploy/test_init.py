"""`parley init`, up to a turn that is answered with what it wrote."""

# asyncpg and redis-py say nothing of their types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import redis
from dotenv import dotenv_values
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import AuthenticationError
from typer.testing import CliRunner, Result

from api.strength import refuse_open_doors
from cli.embedded import start_postgres, start_valkey
from cli.main import app
from cli.token import make_token
from shared.settings import Environment, Settings
from tests.deploy.compose import FILE, load
from tests.fixtures.processes import Starter, free_port
from tests.fixtures.servers import FAST, folder, run_sql
from tests.fixtures.up import parley
from tests.fixtures.waiting import until

SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "PARLEY_JWT_SECRET", "SERVICE_AUTH_TOKEN")


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def written(place: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(place / ".env").items()}


def test_it_writes_both_files_and_says_how_to_go_on(tmp_path: Path) -> None:
    done = init(tmp_path / "new" / "place", "--image", "registry.example.org/parley:1")
    place = tmp_path / "new" / "place"
    assert done.exit_code == 0
    assert {path.name for path in place.iterdir()} == {".env", "docker-compose.yml"}
    assert (place / ".env").stat().st_mode & 0o777 == 0o600
    assert (place / "docker-compose.yml").read_bytes() == FILE.read_bytes()
    assert not (place / "docker-compose.yml").is_symlink()
    assert load(written(place))["services"]["api"]["image"] == "registry.example.org/parley:1"
    assert "docker compose up -d" in done.stderr
    assert not [name for name in SECRETS if written(place)[name] in done.output]


def test_secrets_are_fresh_long_and_each_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert init(tmp_path / name).exit_code == 0
    found = [written(tmp_path / name)[secret] for name in ("one", "two") for secret in SECRETS]
    assert len(set(found)) == 8
    assert all(len(secret) >= 48 and quote(secret, safe="") == secret for secret in found)


def test_the_api_takes_what_it_wrote_for_production(tmp_path: Path) -> None:
    init(tmp_path)
    values = {name.lower(): value for name, value in written(tmp_path).items() if value}
    stores = {"database_url": "postgresql://localhost/x", "redis_url": "redis://localhost"}
    settings = Settings.model_validate(values | stores)
    assert settings.parley_env is Environment.production
    refuse_open_doors(settings)


@pytest.mark.parametrize("name", [".env", "docker-compose.yml"])
def test_what_is_there_already_stays_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    done = init(tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path / name} is there already; nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    assert init(tmp_path).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_beside_the_compose_file_of_the_repository_it_writes_the_secrets(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_bytes(FILE.read_bytes())
    done = init(tmp_path)
    assert done.exit_code == 0
    assert "docker-compose.yml" not in done.stderr.splitlines()[0]
    assert (tmp_path / ".env").exists()


@pytest.mark.parametrize("image", ["", "a b", "x\nPARLEY_ENV=development", "$HOME"])
def test_what_is_no_image_is_refused(tmp_path: Path, image: str) -> None:
    assert init(tmp_path, "--image", image).exit_code == 1
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = init(tmp_path / "file" / "below")
    assert done.exit_code == 1
    assert "can't be used" in done.stderr


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    assert init(tmp_path).exit_code == 0
    return written(tmp_path)


@pytest.fixture
def stores(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Postgres and Valkey as Compose starts them, and where each is: `{"postgres:5432": …}`."""
    database, cache = free_port(), free_port()
    listen = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={database}", *FAST)
    command = load({})["services"]["valkey"]["command"][1:]
    with (
        folder() as one,
        folder() as other,
        start_postgres(one, extra=listen),
        start_valkey(other, extra=(*command, "--port", str(cache))) as valkey,
    ):
        rules = one / "postgres/pg_hba.conf"
        rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        run_sql(
            f"postgresql://parley@127.0.0.1:{database}/parley",
            f"ALTER ROLE parley PASSWORD '{env['POSTGRES_PASSWORD']}'",
            "SELECT pg_reload_conf()",
        )
        with redis.Redis.from_url(valkey.url) as client:
            client.config_set("requirepass", env["REDIS_PASSWORD"])
        yield {"postgres:5432": f"127.0.0.1:{database}", "valkey:6379": f"127.0.0.1:{cache}"}


@pytest.mark.anyio
async def test_what_it_wrote_runs_the_service(
    env: dict[str, str], stores: dict[str, str], starter: Starter
) -> None:
    """With the variables that Compose gives each process; only hosts and ports are those here."""

    def given(name: str) -> dict[str, str]:
        values = env | load(env)["services"][name]["environment"]
        for there, here in stores.items():
            values = {key: value.replace(there, here) for key, value in values.items()}
        return values | {"PARLEY_HOST": "127.0.0.1", "PARLEY_METRICS_PORT": "0"}

    def settings(name: str) -> Settings:
        found = {key.lower(): value for key, value in given(name).items() if value}
        return Settings.model_validate(found | {"parley_port": free_port()})

    await until(lambda: is_locked(given("api")["DATABASE_URL"]))
    with pytest.raises(AuthenticationError):
        async with AsyncRedis.from_url(f"redis://{stores['valkey:6379']}") as client:
            await client.ping()
    done = await asyncio.to_thread(parley, "migrate", **given("migrate"))
    assert done.returncode == 0, done.stderr
    api, worker = await asyncio.gather(
        starter.api(settings("api")), starter.worker(settings("worker"))
    )
    headers = {"Authorization": f"Bearer {env['SERVICE_AUTH_TOKEN']}", "X-User-Id": "alice"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=30) as client:
        ready = (await client.get("/health/ready")).json()
        answer = await client.post("/api/chat?wait=30", json={"message": "Anybody?"})
        token = {"Authorization": f"Bearer {make_token('bob', env['PARLEY_JWT_SECRET'])}"}
        as_bob = await client.get("/api/conversations", headers=token)
    assert ready["status"] == "ready"
    assert (answer.status_code, answer.json()["turn"]["status"]) == (200, "completed")
    assert (as_bob.status_code, as_bob.json()["conversations"]) == (200, [])
    assert (await api.stop(), await worker.stop()) == (0, 0)


async def is_locked(url: str) -> bool:
    """Postgres has heard of its new rules: another password than this is wrong."""
    try:
        connection = await asyncpg.connect(url.replace("parley:", "parley:x"))
    except asyncpg.InvalidPasswordError:
        return True
    await connection.close()
    return False
