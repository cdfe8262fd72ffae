"""Many turns at once: `python -m bench.crowds`.

256 and 1,000 turns that run at the same time, with a model that takes 22 seconds for an answer. No
turn may fail, what is added to the model's own time must stay small as long as there is CPU left,
and no owner may wait for longer than the others. Then 256 with a model so quick that the CPU is the
limit, beside the naive server.
"""

from __future__ import annotations

import statistics

import uvloop

from bench.provider import BRISK, LEISURELY, Pace
from bench.results import Figure, report
from bench.rounds import Round, p50, p95, play
from bench.stage import Stage, staged

OWNERS = 50
TURNS = 2


async def crowd(stage: Stage, clients: int, pace: Pace) -> Round:
    make = stage.shared_by(OWNERS)
    return await play(stage, make, clients=clients, turns=TURNS, pace=pace)


def share_of_cpu(round: Round) -> float:
    return sum(round.cpu.values()) / round.seconds


def fairness(round: Round, clients: int) -> float:
    """What the owner who waited longest waited in the middle, beside the middle of all."""
    by_owner: dict[int, list[float]] = {}
    for index, added in enumerate(round.added):
        # The timings stand client by client.
        by_owner.setdefault((index // TURNS) % OWNERS, []).append(added)
    assert len(round.added) == clients * TURNS
    return max(p50(waits) for waits in by_owner.values()) / statistics.median(round.added)


def figures_of(clients: int, round: Round) -> list[Figure]:
    of = f"{clients:,} at once"
    return [
        Figure(f"{of}: first token added, p50", p50(round.added) * 1000, "ms"),
        Figure(f"{of}: first token added, p95", p95(round.added) * 1000, "ms", None, 200),
        Figure(f"{of}: cores in use", share_of_cpu(round), ""),
        Figure(f"{of}: the owner who waits longest, p50 to p50", fairness(round, clients), "x"),
    ]


async def measure() -> None:
    async with staged() as stage:
        few = await crowd(stage, 256, LEISURELY)
        many = await crowd(stage, 1000, LEISURELY)
        full = await crowd(stage, 256, BRISK)
        naive = await play(stage, stage.naive, clients=256, turns=TURNS, pace=BRISK)
    figures = [*figures_of(256, few), *figures_of(1000, many)]
    for what, value in (("p50", p50), ("p95", p95)):
        ours, theirs = (value(round.added) * 1000 for round in (full, naive))
        figures.append(Figure(f"256, no CPU left: first token added, {what}", ours, "ms", theirs))
    foreign = max(round.foreign for round in (few, many, full, naive))
    report("crowds", "Many turns at once; none of them failed", figures, foreign=foreign)


if __name__ == "__main__":
    uvloop.run(measure())
