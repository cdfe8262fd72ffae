"""The Dockerfile as it can be judged without building it; `make image-check` builds it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.dockerfile import Context, read
from tests.fixtures.processes import ROOT

DOCKERFILE = ROOT / "Dockerfile"
BIN = Path(sys.executable).parent


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run(
        [str(BIN / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_container_is_nobody_and_runs_parley() -> None:
    last = {one.word: one for one in read(DOCKERFILE)}
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last["USER"].rest)
    assert last["ENTRYPOINT"].argv == ["python", "-m", "cli.main"]
    assert last["CMD"].argv == ["api"]


def test_the_image_has_what_the_service_needs_in_the_same_versions() -> None:
    everything, service = pins("requirements.lock"), pins("requirements-service.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    left_out = {name_of(line) for line in extras.pop("embedded")}
    extras.pop("dev")
    wanted = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    assert service.items() <= everything.items()
    assert {name_of(line) for line in wanted} <= set(service)
    assert not left_out & set(service)


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=;]", requirement)[0].strip()


def test_what_is_copied_is_sent_to_the_builder() -> None:
    context = Context(ROOT)
    copied = [one.rest.split()[:-1] for one in read(DOCKERFILE) if one.word == "COPY"]
    sources = [source for names in copied if "--from" not in names[0] for source in names]
    assert {"api", "cli", "migrations", "shared", "web", "worker"} <= set(sources)
    assert not [source for source in sources if not any(context.files(source))]


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".git/config",
        ".parley/secret",
        ".venv/bin/python",
        "tests/conftest.py",
        "web/node_modules/x.js",
        "api/page/index.html",
        "shared/store/__pycache__/x.pyc",
    ],
)
def test_secrets_history_and_what_was_built_here_stay_here(name: str) -> None:
    assert not Context(ROOT).sends(ROOT / name)


def test_the_last_rule_that_fits_decides(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("# all\n*\n!kept\nkept/not\n**/*.pyc\n")
    for name in ("kept/a.py", "kept/a.pyc", "kept/not/b", "other/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path) for path in Context(tmp_path).files("kept")] == ["kept/a.py"]
    assert not list(Context(tmp_path).files("other"))
