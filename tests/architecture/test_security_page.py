"""The page about threats names tests that are there, and leaves nothing open."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_every_threat_has_what_stops_it_and_a_test() -> None:
    assert len(rows()) >= 25
    for row in rows():
        assert len(row) == 3, row
        threat, stops, tests = row
        assert threat
        assert stops
        assert re.sub(r"`[^`]*`|, ", "", tests) == "", f"{threat}: {tests}"
        assert NAMED.findall(tests), threat


def test_the_tests_that_it_names_exist() -> None:
    missing = [
        f"{path}::{name}"
        for path, name in NAMED.findall(PAGE.read_text())
        if not (ROOT / path).is_file() or name not in named_in(ROOT / path)
    ]
    assert not missing
