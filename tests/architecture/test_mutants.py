"""The patches that break the code still fit it: one line each, caught by tests that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))


def test_there_are_mutants() -> None:
    assert len(PATCHES) >= 8


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_changes_one_line_and_names_its_tests(patch: Path) -> None:
    text = patch.read_text()
    for sign in "+-":
        assert len(re.findall(rf"^\{sign}(?!\{sign}\{sign} )", text, re.MULTILINE)) <= 1
    named = re.search(r"^Tests: (.+)$", text, re.MULTILINE)
    assert named is not None
    assert all((ROOT / name).is_file() for name in named[1].split())
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
