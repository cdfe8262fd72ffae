"""docker-compose.yml fits its schema, the code that it runs, and what `parley init` writes."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from cli.init import COMPOSE
from shared.settings import Settings
from tests.deploy.compose import (
    DRAIN_SECONDS,
    FILE,
    GRACE_SECONDS,
    SETTLE_SECONDS,
    load,
    stop_seconds,
)
from tests.fixtures.processes import ROOT

OURS = ("migrate", "api", "worker")
STORES = ("postgres", "valkey")
ALSO = {"OTEL_EXPORTER_OTLP_ENDPOINT"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """As they are where nothing is set."""
    found: dict[str, Any] = load({})["services"]
    return found


def test_it_fits_the_schema_of_compose() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    jsonschema.validate(yaml.safe_load(FILE.read_text()), json.loads(vendored.read_text()))


def test_there_is_one_text_for_the_repository_and_for_init() -> None:
    assert COMPOSE.is_symlink()
    assert COMPOSE.resolve() == FILE


@pytest.mark.parametrize("name", [*OURS, *STORES])
def test_a_container_has_no_rights_that_it_does_not_need(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name in OURS or service["user"] not in ("root", "0")
    assert "privileged" not in service


@pytest.mark.parametrize("name", [*STORES, "api", "observability"])
def test_only_this_machine_can_connect(services: dict[str, Any], name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])


def test_a_container_is_given_the_time_that_its_process_takes() -> None:
    assert stop_seconds("api") > GRACE_SECONDS
    assert stop_seconds("worker") > DRAIN_SECONDS + SETTLE_SECONDS


def test_the_stores_alone_are_as_the_comment_says(services: dict[str, Any]) -> None:
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == "parley"
    assert services["valkey"]["command"][-2:] == ["--requirepass", ""]
    assert services["api"]["environment"]["DATABASE_URL"] == (
        "postgresql://parley:parley@postgres:5432/parley"
    )
    assert not [name for name in STORES if "depends_on" in services[name]]


def test_stores_of_somebody_else_can_be_named() -> None:
    given = {"DATABASE_URL": "postgresql://a:b@c/d", "REDIS_URL": "rediss://e"}
    for name in OURS:
        environment = load(given)["services"][name]["environment"]
        assert {key: environment[key] for key in given} == given


def test_the_schema_is_there_before_a_process_starts(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        migrate = services[name]["depends_on"]["migrate"]
        assert migrate["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["migrate"]["restart"] == "no"


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_given_settings_and_nothing_else(services: dict[str, Any], name: str) -> None:
    known = {field.upper() for field in Settings.model_fields} | ALSO
    assert set(services[name]["environment"]) <= known


def test_each_process_has_its_own_secrets(services: dict[str, Any]) -> None:
    """An empty setting is as good as none."""
    api, worker = services["api"]["environment"], services["worker"]["environment"]
    for secret in ("PARLEY_JWT_SECRET", "SERVICE_AUTH_TOKEN"):
        assert secret not in api
        assert worker[secret] == ""
    for secret in ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "PARLEY_MCP_SERVERS"):
        assert secret not in worker
        assert api[secret] == ""


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    mounted = [
        volume for volume in services["observability"]["volumes"] if volume["type"] == "bind"
    ]
    assert mounted
    for volume in mounted:
        assert (ROOT / volume["source"]).exists()
        assert volume["read_only"]
        assert volume["bind"] == {"create_host_path": False}


def test_metrics_are_collected_where_the_processes_tell_them(services: dict[str, Any]) -> None:
    scraping = yaml.safe_load((ROOT / "deploy/observability/prometheus.yaml").read_text())
    asked = [job["dns_sd_configs"][0] for job in scraping["scrape_configs"]]
    ports = {one["names"][0]: str(one["port"]) for one in asked}
    assert ports == {
        "api": services["api"]["environment"]["PARLEY_PORT"],
        "worker": services["worker"]["environment"]["PARLEY_METRICS_PORT"],
    }
