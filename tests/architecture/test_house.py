"""The rules of the house that no linter knows."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import grimp
import pytest

from migrations.run import newest_revision
from shared import VERSION
from shared.models import SCHEMA_REVISION

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("api", "worker", "shared", "cli", "migrations")
MAX_LINES = 300
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "core", "manager", "service"}
SQL = {"shared.models", "shared.db", "shared.store"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_file_is_longer_than_a_room() -> None:
    long = {
        path.relative_to(ROOT): lines
        for path in tracked("*.py", "*.ts", "*.tsx", "*.css", "*.sh")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.stem in FORBIDDEN_NAMES
    }
    assert not named


def test_shared_is_sql_or_used_by_both_processes() -> None:
    """Two doors: a module that only one process needs lives with that process."""
    graph = grimp.build_graph(*PACKAGES)
    misplaced: set[str] = set()
    for module in graph.find_children("shared"):
        if module in SQL:
            continue
        users = graph.find_downstream_modules(module, as_package=True)
        if not {"api", "worker"} <= {user.split(".")[0] for user in users}:
            misplaced.add(module)
    assert not misplaced


def test_the_release_is_the_same_everywhere() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_schema_revision_is_the_newest_migration() -> None:
    assert newest_revision() == SCHEMA_REVISION


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.lock",
        "requirements-dev.lock",
        "requirements-node.lock",
        "requirements-service.lock",
    ],
)
def test_a_lock_file_has_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "--hash=sha256:" in text
    assert not re.search(r"(https?|file)://|--(extra-)?index-url|--find-links", text)


def test_the_lock_of_the_page_has_hashes_and_names_no_registry() -> None:
    text = (ROOT / "web/package-lock.json").read_text()
    packages = {name: found for name, found in json.loads(text)["packages"].items() if name}
    assert all("integrity" in found for found in packages.values())
    assert '"resolved"' not in text


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    from shared.settings import Settings

    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_files_that_the_docs_speak_of_exist() -> None:
    """Named from the root, or within one of the packages."""
    places = [
        ROOT,
        ROOT / "tests",
        *(ROOT / package for package in PACKAGES),
        ROOT / "shared/store",
    ]
    missing = {
        (document.name, named)
        for document in tracked("*.md")
        for named in re.findall(r"`([\w/.-]+\.(?:py|sh|lock|example))[`:]", document.read_text())
        if not any((place / named).exists() for place in places)
    }
    assert not missing
