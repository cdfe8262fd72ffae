"""What a measurement says in the end: one table with targets, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """`limit` is for the ratio of `value` to `beside` where that is given, and else for `value`."""

    what: str
    value: float
    unit: str
    beside: float | None = None
    """The same of what it is compared with, in the same unit and the same run."""
    limit: float | None = None
    at_least: bool = False
    """The limit is a lower one."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.beside if self.beside else None

    @property
    def met(self) -> bool | None:
        """None without a limit."""
        if self.limit is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.limit if self.at_least else judged <= self.limit


def report(
    question: str,
    title: str,
    figures: Sequence[Figure],
    *,
    foreign: float | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Prints the table and writes `results/<question>.json`.

    `foreign` is the share of the machine's CPU that others took meanwhile; `costs` is what a
    simulation needs and no table shows.
    """
    FOLDER.mkdir(exist_ok=True)
    found = {
        "title": title,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "foreign_cpu": foreign,
        "figures": [asdict(figure) for figure in figures],
        "costs": costs or {},
    }
    (FOLDER / f"{question}.json").write_text(json.dumps(found, indent=1) + "\n")
    Console(width=120).print(table_of(title, figures, foreign))


def reported(question: str) -> tuple[str, list[Figure], float | None]:
    """What `report` wrote."""
    found = json.loads((FOLDER / f"{question}.json").read_text())
    figures = [Figure(**figure) for figure in found["figures"]]
    return found["title"], figures, found["foreign_cpu"]


def costs_of(question: str) -> dict[str, dict[str, float]]:
    """The `costs` of the last report. Raises FileNotFoundError where there was none."""
    found: dict[str, dict[str, float]] = json.loads((FOLDER / f"{question}.json").read_text())[
        "costs"
    ]
    return found


def table_of(title: str, figures: Sequence[Figure], foreign: float | None) -> Table:
    caption = f"CPU taken by others meanwhile: {foreign:.0%}" if foreign is not None else None
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("figure")
    for name in ("ours", "beside", "ratio", "target"):
        table.add_column(name, justify="right")
    table.add_column("")
    for figure in figures:
        table.add_row(
            figure.what,
            f"{figure.value:,.4g} {figure.unit}",
            "" if figure.beside is None else f"{figure.beside:,.4g} {figure.unit}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}x",
            _target(figure),
            {True: "met", False: "missed", None: ""}[figure.met],
        )
    return table


def _target(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    sign = ">=" if figure.at_least else "<="
    unit = f" {figure.unit}" if figure.beside is None else "x"
    return f"{sign} {figure.limit:,g}{unit}"
