"""How soon a worker is at work, and how small it is: `python -m bench.startup`.

A message waits, then a worker is started: the time runs from its process' start until a viewer of
the conversation is told that the turn is complete. Then the worker rests, and is weighed. One more
worker gets 400 turns of as many owners at once, from a model that falls silent after the first
word until all of them run. Targets: 2 s (median of the starts); 150 MB resident after the first
turn; 100 KB more for each turn that runs. MB and KB are of 1024.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import text

from bench.figures import place_of_a_stack
from bench.processes import Meter
from bench.results import Figure, report
from cli.verify.part import Part, until
from cli.verify.sse import Parser
from cli.verify.stack import Stack
from shared.connection import EVERYONE
from shared.db import Database

TITLE = "How soon a worker is at work, and how small it is"
KB = 1024
MB = 1024 * KB
TARGET_SECONDS, TARGET_MB, TARGET_KB = 2.0, 150, 100
PLACES = 500
SETTINGS = {
    "PARLEY_MAX_TURNS": str(PLACES),
    "PARLEY_MODEL_TIMEOUT_SECONDS": "300",
    "PARLEY_MODEL_IDLE_TIMEOUT_SECONDS": "300",
}
QUESTION = "say It was waiting for a worker."
LONG_QUESTION = "gated The rest of this answer comes once all of them run."
REST_SECONDS = 2.0
PATIENCE_SECONDS = 120.0
AT_ONCE = 20
CHATS = "/api/chat/conversations"
IMPORT = """
import time
import sys
began = time.process_time()
import worker.main
sys.stdout.write(str(time.process_time() - began))
"""
COUNT = text("SELECT count(*) FROM turns WHERE status = :status AND user_id LIKE 'one-of-many-%'")

Headers = dict[str, str]


@dataclass(frozen=True)
class Start:
    """From a worker's start to the end of its first turn, and what it weighs then."""

    seconds: float
    cpu: float
    weight: Weight
    foreign: float


@dataclass(frozen=True)
class Weight:
    """In bytes: all that is resident, all but what others have too, and with a share of that."""

    rss: int
    uss: int
    pss: int


async def measure(root: Path, starts: int, turns: int) -> tuple[list[Figure], float]:
    assert turns <= PLACES
    stack = Stack(root, workers=0, apis=1, settings=SETTINGS)
    try:
        await stack.start()
        imports = [await import_seconds(stack.environment) for _ in range(starts)]
        await start(stack, 0)  # what was never read before comes from the disk
        found = [await start(stack, number) for number in range(1, starts + 1)]
        running = await weigh_turns(stack, turns)
    finally:
        await stack.abandon()
    return [*figures_of(found, imports), *running], max(each.foreign for each in found)


def figures_of(found: list[Start], imports: list[float]) -> list[Figure]:
    seconds = [each.seconds for each in found]
    weights = [each.weight for each in found]
    first = "start to the end of its first turn"
    return [
        Figure(f"{first}, median", statistics.median(seconds), "s", limit=TARGET_SECONDS),
        Figure(f"{first}, slowest of {len(found)}", max(seconds), "s"),
        Figure(f"{first}, its CPU", statistics.median(each.cpu for each in found), "s"),
        Figure("to import worker.main, CPU", statistics.median(imports), "s"),
        Figure("idle, RSS", megabytes([w.rss for w in weights]), "MB", limit=TARGET_MB),
        Figure("idle, PSS", megabytes([w.pss for w in weights]), "MB"),
        Figure("idle, USS", megabytes([w.uss for w in weights]), "MB"),
    ]


async def start(stack: Stack, number: int) -> Start:
    owner = bearer(stack, f"owner-{number}")
    worker = stack.worker(f"worker-{number}")
    stack.others.append(worker)
    async with client_of(stack) as client:
        path = await ask(client, owner, QUESTION)
        opened = asyncio.Event()
        ending = asyncio.create_task(see_the_end(client, owner, path, opened))
        await opened.wait()
        began = time.perf_counter()
        life = worker.begin()
        with Meter(pids(stack, worker)) as meter:
            await ending
            seconds = time.perf_counter() - began
    await worker.wait_ready(life)
    await asyncio.sleep(REST_SECONDS)
    weight = weigh(worker)
    await worker.stop()
    stack.others.remove(worker)
    return Start(seconds, meter.spent[worker.name], weight, meter.foreign)


async def ask(client: httpx.AsyncClient, owner: Headers, question: str) -> str:
    """In a conversation of its own, whose path it returns."""
    begun = (await client.post(CHATS, json={}, headers=owner)).raise_for_status().json()
    path = f"{CHATS}/{begun['id']}"
    said = {"content": question}
    (await client.post(f"{path}/messages", json=said, headers=owner)).raise_for_status()
    return path


async def see_the_end(
    client: httpx.AsyncClient, owner: Headers, path: str, opened: asyncio.Event
) -> None:
    """Follows the conversation until its turn is complete."""
    parser = Parser()
    async with client.stream("GET", f"{path}/events", headers=owner) as answer:
        async for piece in answer.aiter_bytes():
            opened.set()
            for event in parser.feed(piece):
                if event.name == "turn.updated" and event.data["turn"]["status"] == "completed":
                    return
    raise AssertionError("the stream ended before the turn did")


async def weigh_turns(stack: Stack, turns: int) -> list[Figure]:
    """What a worker weighs more while so many turns run, and what of it stays."""
    worker = stack.worker("worker-of-many")
    stack.others.append(worker)
    await worker.start()
    worker.require()
    db = stack.database()
    async with client_of(stack) as client:
        await say(stack, client, QUESTION, 1)
        await all_are(db, "completed", 1)
        await asyncio.sleep(REST_SECONDS)
        before = weigh(worker)
        began = time.perf_counter()
        await say(stack, client, LONG_QUESTION, turns)
        await all_are(db, "running", turns)
        await answering(stack, turns)
        seconds = time.perf_counter() - began
        await asyncio.sleep(REST_SECONDS)
        then = weigh(worker)
        (await client.post(f"{stack.model_url}/gate/open")).raise_for_status()
        await all_are(db, "completed", turns + 1)
        await asyncio.sleep(REST_SECONDS)
        after = weigh(worker)
    await db.close()
    grown = (then.rss - before.rss) / turns / KB
    return [
        Figure(f"a turn of {turns} that run, RSS", grown, "KB", limit=TARGET_KB),
        Figure(f"a turn of {turns} that run, USS", (then.uss - before.uss) / turns / KB, "KB"),
        Figure("once they have ended, RSS", after.rss / MB, "MB"),
        Figure(f"from the first of {turns} messages until all run", seconds, "s"),
    ]


async def say(stack: Stack, client: httpx.AsyncClient, question: str, turns: int) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await ask(client, bearer(stack, f"one-of-many-{number}"), question)

    async with asyncio.TaskGroup() as group:
        for number in range(turns):
            group.create_task(one(number))


async def all_are(db: Database, status: str, turns: int) -> None:
    async def so() -> bool:
        async with db.snapshot(EVERYONE) as tx:
            return await tx.scalar(COUNT, {"status": status}) == turns

    assert await until(so, seconds=PATIENCE_SECONDS), f"not all {turns} turns are {status}"


async def answering(stack: Stack, turns: int) -> None:
    """Until the model is in the middle of so many answers."""
    async with httpx.AsyncClient(base_url=stack.model_url, trust_env=False) as model:

        async def so() -> bool:
            return (await model.get("/verdict")).json()["answering"] == turns

        assert await until(so, seconds=PATIENCE_SECONDS), f"not {turns} answers have begun"


async def import_seconds(environment: Mapping[str, str]) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", IMPORT), env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return float(said)


def weigh(worker: Part) -> Weight:
    found = psutil.Process(worker.life.child.pid).memory_full_info()
    return Weight(found.rss, found.uss, found.pss)


def megabytes(found: list[int]) -> float:
    return statistics.median(found) / MB


def client_of(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stack.urls()[0], timeout=PATIENCE_SECONDS, trust_env=False)


def bearer(stack: Stack, owner: str) -> Headers:
    return {"Authorization": f"Bearer {stack.token(owner)}"}


def pids(stack: Stack, worker: Part) -> dict[str, int]:
    parts = (stack.apis[0], stack.model, stack.redis, stack.postgres, worker)
    return {part.name: part.life.child.pid for part in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--turns", type=int, default=400)
    asked = parser.parse_args()
    # As in the Makefile: what is loaded is not to be compiled each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with place_of_a_stack() as place:
        figures, foreign = asyncio.run(measure(place, **vars(asked)))
    report("startup", TITLE, figures, foreign=foreign)


if __name__ == "__main__":
    main()
