"""What more processes bring on one machine: `python -m bench.scale`.

Turns a second of 64 clients with one and two workers and one and two APIs, until the cores are
full. What is posted to one API is followed on the other, and the turns of each conversation must
end in the order they were asked for.
"""

from __future__ import annotations

import argparse

import psutil
import uvloop
from sqlalchemy import text

from bench.results import Figure, report
from bench.rounds import Round, joined, play
from bench.stage import staged
from shared.connection import EVERYONE
from shared.db import Database

CLIENTS = 64
SHAPES = ((1, 1), (2, 1), (1, 2), (2, 2))
# A turn that ended before one that was asked earlier in its conversation.
OUT_OF_ORDER = text(
    "SELECT count(*) FROM turns a JOIN turns b USING (conversation_id)"
    " WHERE a.seq < b.seq AND a.finished_at > b.finished_at"
)


async def rate(workers: int, apis: int, turns: int) -> Round:
    async with staged(workers=workers, apis=apis) as stage:
        await play(stage, stage.ours, clients=16, turns=4)
        found = joined(
            [await play(stage, stage.ours, clients=CLIENTS, turns=turns) for _ in range(2)]
        )
        db = stage.stack.database()
        await in_order(db)
        await db.close()
        return found


async def in_order(db: Database) -> None:
    async with db.snapshot(EVERYONE) as tx:
        assert await tx.scalar(OUT_OF_ORDER) == 0


async def measure(turns: int) -> None:
    figures: list[Figure] = []
    foreign, first = 0.0, 0.0
    costs: dict[str, dict[str, float]] = {}
    for workers, apis in SHAPES:
        found = await rate(workers, apis, turns)
        foreign, first = max(foreign, found.foreign), first or found.rate
        of = f"{workers} worker{'s'[: workers > 1]}, {apis} API{'s'[: apis > 1]}"
        figures.append(Figure(f"{of}: turns a second", found.rate, "/s", first))
        costs[f"{workers}/{apis}"] = {"rate": found.rate, "per_turn": found.cpu_per_turn * 1000}
        used = sum(found.cpu.values()) / found.seconds
        figures.append(Figure(f"{of}: of {psutil.cpu_count()} cores in use by it", used, ""))
    title = "More processes on one machine, 64 clients"
    report("scale", title, figures, foreign=foreign, costs=costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="of each client in a round")
    uvloop.run(measure(parser.parse_args().turns))


if __name__ == "__main__":
    main()
