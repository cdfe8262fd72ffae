"""All that has a target, one after the other: `make bench`, or `python -m bench turns flat …`.

Every question is a program of its own and prints its own table. In the end stands one with what has
a target: met, or missed by how much.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from bench.results import Figure, reported

QUESTIONS = ("turns", "scale", "capacity", "crowds", "streams", "startup", "flat")
"""`capacity` reads what `turns` and `scale` found."""


def known(question: str) -> str:
    if question not in QUESTIONS:
        raise argparse.ArgumentTypeError(f"not one of {', '.join(QUESTIONS)}: {question}")
    return question


def ask(question: str) -> bool:
    """Whether it could be answered."""
    began = time.monotonic()
    program = [sys.executable, "-m", f"bench.{question}"]
    done = subprocess.run(program, check=False)  # noqa: S603
    print(f"bench.{question}: {time.monotonic() - began:.0f} s\n")  # noqa: T201
    return done.returncode == 0


def missed_by(figure: Figure) -> str:
    if figure.limit is None or figure.met:
        return ""
    judged = figure.value if figure.ratio is None else figure.ratio
    return f"by {abs(judged / figure.limit - 1):.0%}"


def summary(questions: tuple[str, ...]) -> Table:
    table = Table("figure", "found", "target", "", "others' CPU", title="Targets")
    for question in questions:
        _, figures, foreign = reported(question)
        for figure in figures:
            if figure.limit is None:
                continue
            ratio = figure.ratio
            found = f"{figure.value:,.4g} {figure.unit}" if ratio is None else f"{ratio:.2f}x"
            sign = ">=" if figure.at_least else "<="
            unit = f" {figure.unit}" if ratio is None else "x"
            table.add_row(
                figure.what,
                found,
                f"{sign} {figure.limit:,g}{unit}",
                "met" if figure.met else f"missed {missed_by(figure)}",
                "" if foreign is None else f"{foreign:.0%}",
            )
        table.add_section()
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    # Not `choices`: Python 3.11 would look for the whole default among them.
    parser.add_argument("questions", nargs="*", type=known, default=QUESTIONS)
    asked = tuple(parser.parse_args().questions)
    answered = tuple(question for question in asked if ask(question))
    Console(width=130).print(summary(answered))
    return 0 if answered == asked else 1


if __name__ == "__main__":
    sys.exit(main())
