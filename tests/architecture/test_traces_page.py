"""The page about traces and the code speak of the same spans and facts."""

from __future__ import annotations

import re
from pathlib import Path

from shared.spans import Fact, Kind, Moment

PAGE = Path(__file__).parent.parent.parent / "docs" / "traces.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_the_table_has_every_span_and_no_other() -> None:
    assert {name for row in rows() for name in quoted(row[0])} == set(Kind)


def test_every_fact_and_moment_is_told_of_and_no_other() -> None:
    page = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    facts = {name for name in quoted(page) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)}
    assert facts == set(Fact)
    described = " ".join(row[1] for row in rows())
    assert quoted(described) >= set(Moment)
