"""How long one waits while another has ten thousand turns waiting: `python -m bench.fair_share`.

Two workers; the model takes 600 ms for an answer of 20 pieces. Bob asks one thing after the other,
first alone, then while Alice's turns wait. Target: his turns take twice as long at most.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from uuid import UUID

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.figures import median_and_p99, place_of_a_stack
from cli.verify.stack import Stack
from shared.connection import EVERYONE
from shared.db import Database
from shared.jobs import Jobs
from shared.redis import connect_redis
from shared.settings import Settings

QUESTION = "slow 30 " + "word " * 20
PATIENCE_SECONDS = 60

CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title, last_seq, message_count)
    SELECT md5('c' || n)::uuid, 'alice', 'bench', 2, 1 FROM generate_series(1, :turns) n
    RETURNING id
"""
TURNS = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       position)
    SELECT md5('t' || n)::uuid, md5('c' || n)::uuid, 'alice', md5('m' || n)::uuid, 2, 2, 'queued', 1
    FROM generate_series(1, :turns) n
"""
MESSAGES = """
    INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq, role, content,
                          status)
    SELECT md5('m' || n)::uuid, md5('c' || n)::uuid, 'alice', md5('t' || n)::uuid, 1, 1, 'user',
           :content, 'completed'
    FROM generate_series(1, :turns) n
"""


async def measure(root: Path, turns: int, asked: int, places: int) -> Table:
    stack = Stack(root, workers=2, apis=1, settings={"PARLEY_MAX_TURNS": str(places)})
    table = Table("waiting", "running", "Bob's turns", "median s", "p99 s", "times alone")
    try:
        await stack.start()
        headers = {"Authorization": f"Bearer {stack.token('bob')}"}
        async with httpx.AsyncClient(
            base_url=stack.urls()[0], headers=headers, timeout=PATIENCE_SECONDS
        ) as bob:
            alone = 0.0
            for waits in (False, True):
                if waits:
                    await queue(stack, turns)
                times = [await ask(bob) for _ in range(asked)]
                median, p99 = median_and_p99(times)
                alone = alone or median
                table.add_row(
                    *(str(count) for count in await alices(stack)),
                    *(str(asked), f"{median:.2f}", f"{p99:.2f}", f"{median / alone:.2f}"),
                )
    finally:
        await stack.abandon()
    return table


async def queue(stack: Stack, turns: int) -> None:
    """As if Alice had sent so many messages, each in a conversation of its own; and rung."""
    settings: Settings = stack.settings()
    db, redis = Database(settings), connect_redis(settings)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        rows = await tx.all(text(CONVERSATIONS), {"turns": turns})
        await tx.execute(text(TURNS), {"turns": turns})
        await tx.execute(text(MESSAGES), {"turns": turns, "content": QUESTION})
    jobs = Jobs(redis)
    ids: list[UUID] = [row.id for row in rows]
    for conversation_id in ids:
        assert await jobs.ring(conversation_id, "alice")
    await redis.aclose(close_connection_pool=True)
    await db.close()


async def alices(stack: Stack) -> tuple[int, int]:
    """How many of her turns wait, and how many run."""
    db = stack.database()
    async with db.snapshot(EVERYONE) as tx:
        found = await tx.first(
            text(
                "SELECT count(*) FILTER (WHERE status = 'queued') AS queued,"
                " count(*) FILTER (WHERE status = 'running') AS running"
                " FROM turns WHERE user_id = 'alice'"
            )
        )
    await db.close()
    assert found is not None
    return found.queued, found.running


async def ask(bob: httpx.AsyncClient) -> float:
    began = time.perf_counter()
    chat = {"message": QUESTION}
    answer = await bob.post("/api/chat", json=chat, params={"wait": PATIENCE_SECONDS})
    seconds = time.perf_counter() - began
    assert answer.status_code == 200, answer.text
    assert answer.json()["turn"]["status"] == "completed", answer.text
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=20)
    parser.add_argument("--places", type=int, default=8, help="turns at once, of each worker")
    with place_of_a_stack() as place:
        table = asyncio.run(measure(place, **vars(parser.parse_args())))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
