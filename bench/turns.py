"""What a turn costs beside the naive server's: `python -m bench.turns`.

Latency as the client sees it, turns a second, CPU by part; one client, 64 at once with a model that
answers at once, 64 with a model that takes its time. The rounds of both systems alternate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import uvloop
from rich.console import Console
from rich.table import Table

from bench.clients import Client
from bench.provider import BRISK, Pace
from bench.results import Figure, report
from bench.rounds import Round, joined, p50, p95, play
from bench.stage import Stage, staged

CROWD = 64
DURABLE_PEER = 19 / 57
"""Of the naive server's turns a second: what the fastest durable server we know of does, on two
cores with the same model. It isn't run here.
"""
Pair = tuple[Round, Round]
"""Ours and the naive server's."""


async def both(
    stage: Stage, *, rounds: int, clients: int, turns: int, pace: Pace | None = None
) -> Pair:
    played: dict[Callable[[int], Client], list[Round]] = {stage.ours: [], stage.naive: []}
    for _ in range(rounds):
        for make, found in played.items():
            found.append(await play(stage, make, clients=clients, turns=turns, pace=pace))
    return joined(played[stage.ours]), joined(played[stage.naive])


def ms(seconds: float) -> float:
    return seconds * 1000


def compared(
    what: str, pair: Pair, of: Callable[[Round], float], limit: float | None = None
) -> Figure:
    ours, naive = (ms(of(round)) for round in pair)
    return Figure(what, ours, "ms", naive, limit)


def figures_of(alone: Pair, crowd: Pair, paced: Pair) -> list[Figure]:
    peer = crowd[1].rate * DURABLE_PEER
    return [
        compared("first token, 1 client, p50", alone, lambda r: p50(r.added), 1.0),
        compared("first token, 1 client, p95", alone, lambda r: p95(r.added), 1.5),
        compared("accept, 1 client, p50", alone, lambda r: p50(r.accepted), 0.8),
        compared("accept, 64 clients, p50", crowd, lambda r: p50(r.accepted), 0.1),
        Figure("turns a second, 64 clients", crowd[0].rate, "/s", crowd[1].rate, 2.5, True),
        Figure("the same, a durable peer as known", crowd[0].rate, "/s", peer, 7, True),
        compared("CPU per turn, 1 client", alone, lambda r: r.cpu_per_turn),
        compared("CPU per turn, 64 clients", crowd, lambda r: r.cpu_per_turn, 0.6),
        compared("first token at a pace, 64, p50", paced, lambda r: p50(r.added), 0.1),
        Figure("the same alone", ms(p50(paced[0].added)), "ms", None, 50),
        compared("first token at a pace, 64, p95", paced, lambda r: p95(r.added)),
        compared("CPU per turn at a pace", paced, lambda r: r.cpu_per_turn),
    ]


def costs_in(round: Round) -> dict[str, float]:
    """CPU milliseconds of a turn by part, and what was measured with them."""
    cpu = {part.split("-")[0]: ms(spent / round.turns) for part, spent in round.cpu.items()}
    seen = {"rate": round.rate, "first_token": ms(p50(round.added)), "done": ms(p50(round.done))}
    return cpu | seen | {"clients": ms(round.clients_cpu / round.turns)}


def parts_of(**pairs: Pair) -> Table:
    """CPU milliseconds of a turn, by part."""
    table = Table("CPU ms per turn", *pairs, title_justify="left")
    for which, system in enumerate(("ours", "naive")):
        rounds = [pair[which] for pair in pairs.values()]
        for part in rounds[0].cpu:
            spent = [f"{ms(r.cpu[part] / r.turns):.2f}" for r in rounds]
            table.add_row(f"{system}: {part}", *spent)
    return table


async def measure(rounds: int, scale: float) -> None:
    async with staged() as stage:
        many = max(2, int(8 * scale))
        await both(stage, rounds=1, clients=16, turns=4)  # warm
        alone = await both(stage, rounds=rounds, clients=1, turns=max(20, int(60 * scale)))
        crowd = await both(stage, rounds=rounds, clients=CROWD, turns=many)
        paced = await both(stage, rounds=rounds, clients=CROWD, turns=many // 2, pace=BRISK)
    foreign = max(round.foreign for pair in (alone, crowd, paced) for round in pair)
    figures = figures_of(alone, crowd, paced)
    costs = {"alone": costs_in(alone[0]), "crowd": costs_in(crowd[0]), "paced": costs_in(paced[0])}
    title = "A turn, beside the naive server's"
    report("turns", title, figures, foreign=foreign, costs=costs)
    Console(width=120).print(parts_of(alone=alone, crowd=crowd, paced=paced))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the turns in a round")
    asked = parser.parse_args()
    uvloop.run(measure(asked.rounds, asked.scale))


if __name__ == "__main__":
    main()
