"""How long a turn waits for another worker, nothing else happening: `python -m bench.takeover`.

Two workers; the one that holds a turn in the middle of its answer is asked to stop, or killed. The
time runs until the API shows the next attempt. Targets: 1 s after a drain, lease + sweep (7 s)
after a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bench.figures import median_and_p99, place_of_a_stack
from cli.verify.part import Part, until
from cli.verify.stack import Stack

OWNER = "bench"
PATIENCE_SECONDS = 30.0
# What is still at work is handed back at once: the time of a drain is the operator's to choose.
SETTINGS = {"PARLEY_DRAIN_SECONDS": "0"}
WAYS = ("drained", "killed")


async def measure(root: Path, rounds: int) -> Table:
    stack = Stack(root, workers=2, apis=1, settings=SETTINGS)
    table = Table("worker", "rounds", "min s", "median s", "max s")
    try:
        await stack.start()
        headers = {"Authorization": f"Bearer {stack.token(OWNER)}"}
        async with httpx.AsyncClient(base_url=stack.urls()[0], headers=headers) as client:
            for way in WAYS:
                times = [await once(stack, client, way) for _ in range(rounds)]
                median, _ = median_and_p99(times)
                figures = (min(times), median, max(times))
                table.add_row(way, str(rounds), *(f"{figure:.2f}" for figure in figures))
    finally:
        await stack.abandon()
    return table


async def once(stack: Stack, client: httpx.AsyncClient, way: str) -> float:
    begun = (await client.post("/api/chat/conversations", json={})).json()
    path = f"/api/chat/conversations/{begun['id']}/messages"
    said = (await client.post(path, json={"content": "gated First then the rest"})).json()
    turn_path = f"/api/chat/turns/{said['turn']['id']}"

    async def turn() -> Any:
        return (await client.get(turn_path)).json()

    async def attempted(number: int) -> bool:
        return (await turn())["attempt"] == number

    def holder() -> Part | None:
        turn_id = said["turn"]["id"]
        logs = ((worker, worker.life.log.read_text()) for worker in stack.workers)
        return next((worker for worker, log in logs if turn_id in log), None)

    assert await until(lambda: attempted(1), seconds=PATIENCE_SECONDS)
    assert await until(lambda: holder() is not None, seconds=PATIENCE_SECONDS)
    worker = holder()
    assert worker is not None
    began = time.perf_counter()
    leaving = asyncio.create_task(worker.stop() if way == "drained" else worker.kill())
    assert await until(lambda: attempted(2), seconds=PATIENCE_SECONDS)
    seconds = time.perf_counter() - began
    await leaving
    await client.post(f"{turn_path}/cancel")
    await worker.start()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with place_of_a_stack() as place:
        table = asyncio.run(measure(place, rounds))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
