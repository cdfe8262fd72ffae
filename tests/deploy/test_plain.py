"""Units of systemd and snippets for proxies say what the code and the other ways say."""

from __future__ import annotations

import re

import pytest

from tests.deploy.compose import DRAIN_SECONDS, GRACE_SECONDS, SETTLE_SECONDS
from tests.fixtures.processes import ROOT

UNITS = ROOT / "deploy/systemd"
PROXIES = ROOT / "deploy/proxy"
GUIDE = ROOT / "docs/deployment.md"


def setting(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        ("parley-api.service", GRACE_SECONDS),
        ("parley-worker@.service", DRAIN_SECONDS + SETTLE_SECONDS),
    ],
)
def test_a_unit_waits_for_its_process_and_gives_up_on_wrong_settings(
    unit: str, seconds: float
) -> None:
    assert float(*setting(unit, "TimeoutStopSec")) > seconds
    assert setting(unit, "RestartPreventExitStatus") == ["2"]
    assert setting(unit, "EnvironmentFile") == ["/etc/parley/.env"]
    assert setting(unit, "NoNewPrivileges") == ["yes"]


def test_units_run_commands_that_there_are() -> None:
    run = [*setting("parley-api.service", "ExecStart(?:Pre)?")]
    run += setting("parley-worker@.service", "ExecStart")
    assert run == [f"/opt/parley/bin/parley {name}" for name in ("migrate", "api", "worker")]


def test_the_guide_shows_what_the_file_for_nginx_does() -> None:
    shown, written = directives(fenced("nginx")), directives((PROXIES / "nginx.conf").read_text())
    assert {"return 404;", "proxy_buffering off;", "proxy_set_header Host $http_host;"} <= shown
    assert shown - written == {"proxy_pass http://127.0.0.1:8000;"}


def test_the_guide_shows_what_the_file_for_caddy_does() -> None:
    written = (PROXIES / "Caddyfile").read_text()
    wanted = ["respond /metrics* 404", "reverse_proxy 127.0.0.1:8000 {", "flush_interval -1"]
    for text in (fenced(""), written):
        lines = [line.strip() for line in text.splitlines()]
        assert [line for line in lines if line in wanted] == wanted


def fenced(language: str) -> str:
    """The last block of the guide in that language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for name, text in blocks if name == language][-1]


def directives(text: str) -> set[str]:
    return set(re.findall(r"[a-z_]+ [^{};#\n]+;", text))
