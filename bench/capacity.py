"""What a deployment needs: `python -m bench.capacity`, after `bench.turns` and `bench.scale`.

A simulation is given the costs that those two measured on this machine. First it has to reproduce
what they measured: within 20 %. Then it is asked what 1,000, 100,000 and 10,000,000 turns an hour
need, where every process has a core of its own (docs/capacity.md).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from math import ceil

import psutil
from rich.console import Console
from rich.table import Table

from bench.provider import BRISK
from bench.results import Figure, costs_of, report
from bench.rounds import p50, p95
from bench.simulation import Costs, Shape, closed, open_

HOUR = 3600
LOADS = (1_000, 100_000, 10_000_000)
BUSY = 0.6
"""No process is to be at work for more of its time."""
SIMULATED = 300
"""Turns a second at most: what is larger is simulated as so many equal parts."""
ANSWER = {"first": 1000.0, "rest": 9000.0}
"""Milliseconds of a model as people use it."""


def costs_in(found: dict[str, float], *, commit: float, **more: float) -> Costs:
    parts = ("api", "worker", "postgres", "redis", "clients")
    return Costs(**{part: found[part] for part in parts}, commit=commit, **more)


def commit_of(alone: dict[str, float]) -> float:
    """What a turn of a single client waits for that is nobody's CPU, by commit: there are three."""
    parts = ("api", "worker", "postgres", "redis", "clients")
    return max(0.2, (alone["done"] - sum(alone[part] for part in parts)) / 3)


def checked() -> tuple[list[Figure], Costs]:
    """What the simulation makes of this machine beside what was measured; the paced costs."""
    turns, scale = costs_of("turns"), costs_of("scale")
    commit = commit_of(turns["alone"])
    here = Shape(cores=psutil.cpu_count())
    alone = costs_in(turns["alone"], commit=commit)
    crowd = costs_in(turns["crowd"], commit=commit)
    rest = (BRISK.seconds - BRISK.first) * 1000
    paced = costs_in(turns["paced"], commit=commit, first=BRISK.first * 1000, rest=rest)
    points = [
        (what, closed(here, costs, clients=clients).rate, rate_of(turns[name], costs, clients))
        for what, costs, clients, name in (
            ("1 client: turns a second", alone, 1, "alone"),
            ("64 clients: turns a second", crowd, 64, "crowd"),
            ("64 at a pace: turns a second", paced, 64, "paced"),
        )
    ]
    for name, measured in scale.items():
        workers, apis = (int(count) for count in name.split("/"))
        by = measured["per_turn"] / scale["1/1"]["per_turn"]
        shape = replace(here, workers=workers, apis=apis)
        costs = scaled(crowd, by * scale["1/1"]["per_turn"] / per_turn(crowd))
        of = f"{workers} worker{'s'[: workers > 1]}, {apis} API{'s'[: apis > 1]}: turns a second"
        points.append((of, closed(shape, costs, clients=64).rate, measured["rate"]))
    return [Figure(what, value, "/s", beside) for what, value, beside in points], paced


def off_by(figures: list[Figure]) -> Figure:
    """What the simulation is wrong by where it is wrong most."""
    most = max(abs((figure.ratio or 0) - 1) for figure in figures)
    return Figure("the simulation, off by at most", most * 100, "%", None, 20)


def rate_of(measured: dict[str, float], costs: Costs, clients: int) -> float:
    """Of clients who ask again as soon as they are answered. Where they begin one after the other
    it can't be counted, but follows from how long a turn takes.
    """
    if not costs.first:
        return measured["rate"]
    return clients / (costs.first + costs.rest + measured["done"]) * 1000


def per_turn(costs: Costs) -> float:
    return costs.api + costs.worker + costs.postgres + costs.redis


def scaled(costs: Costs, by: float) -> Costs:
    return replace(
        costs,
        api=costs.api * by,
        worker=costs.worker * by,
        postgres=costs.postgres * by,
        redis=costs.redis * by,
    )


def deployment(an_hour: int, costs: Costs) -> list[str]:
    """Processes so that none is too busy, and what the simulation says of them."""
    rate = an_hour / HOUR
    apis = ceil(rate * costs.api / 1000 / BUSY)
    workers = ceil(rate * costs.worker / 1000 / BUSY)
    parts = ceil(rate / SIMULATED)
    shape = Shape(apis=ceil(apis / parts), workers=ceil(workers / parts))
    seconds = max(60.0, 400 / rate)
    found = open_(shape, costs, rate=rate / parts, seconds=seconds)
    running = rate * (costs.first + costs.rest) / 1000
    return [
        f"{an_hour:,}",
        f"{rate:,.2f}",
        f"{running:,.0f}",
        f"{apis:,}",
        f"{workers:,}",
        f"{rate * costs.postgres / 1000 / BUSY:,.2f}",
        f"{rate * costs.redis / 1000:.0%}",
        f"{p50(found.first_token):.0f} / {p95(found.first_token):.0f} ms",
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    figures, paced = checked()
    off = off_by(figures)
    report("capacity", "The simulation beside what was measured", [*figures, off])
    table = Table(
        *("turns an hour", "a second", "at once", "APIs", "workers", "Postgres cores"),
        *("of a Redis", "first token added, p50 / p95"),
        title="What it takes",
        title_justify="left",
    )
    life = replace(paced, clients=0.0, **ANSWER)
    for load in LOADS:
        table.add_row(*deployment(load, life))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
