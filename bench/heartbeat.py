"""What a heartbeat costs with one, fifty and a thousand turns held: `python -m bench.heartbeat`.

It is one statement for the lease and one for the turns, however many they are.
"""

from __future__ import annotations

import asyncio
import time

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.figures import database, median_and_p99, milliseconds, settings_for
from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.jobs import Jobs
from shared.redis import connect_redis
from worker.agent import choose_model
from worker.sweep import renew
from worker.turn import Turns

HELD = (1, 50, 1000)
ROUNDS = 300

CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title, last_seq)
    SELECT md5('c' || n)::uuid, 'user', 'bench', 1 FROM generate_series(1, :held) n
"""
TURNS = """
    INSERT INTO turns (id, conversation_id, user_id, user_message_id, seq, changed_seq, status,
                       attempt, lease_owner, started_at)
    SELECT md5('t' || n)::uuid, md5('c' || n)::uuid, 'user', md5('m' || n)::uuid, 1, 1,
           'running', 1, :worker, now()
    FROM generate_series(1, :held) n
"""


async def measure(url: str) -> Table:
    settings = settings_for(url)
    db = Database(settings)
    redis = connect_redis(settings)
    table = Table("turns held", "median ms", "p99 ms", "times the first")
    first = 0.0
    for held in HELD:
        turns = Turns(
            settings, db=db, feed=Feed(redis), jobs=Jobs(redis), model=choose_model(settings)
        )
        async with db.transaction(EVERYONE) as tx:
            await tx.execute(text("TRUNCATE workers, turns, conversations CASCADE"))
            await tx.execute(text(CONVERSATIONS), {"held": held})
            await tx.execute(text(TURNS), {"held": held, "worker": turns.worker_id})
        median, p99 = median_and_p99(await times_of(db, turns, held))
        first = first or median
        table.add_row(str(held), milliseconds(median), milliseconds(p99), f"{median / first:.1f}")
    await redis.aclose(close_connection_pool=True)
    await db.close()
    return table


async def times_of(db: Database, turns: Turns, held: int) -> list[float]:
    """The worker believes that it runs what the rows say: nothing is given back or lost."""
    settings = settings_for("postgresql://nowhere.invalid")
    task = asyncio.current_task()
    assert task is not None
    async with db.snapshot(EVERYONE) as tx:
        rows = await tx.all(text("SELECT id, attempt FROM turns"))
    assert len(rows) == held
    running = {(row.id, row.attempt): task for row in rows}
    turns._running = running  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await renew(db, settings, turns)
        times.append(time.perf_counter() - began)
    assert len(turns.held) == held
    return times


def main() -> None:
    with database() as url:
        table = asyncio.run(measure(url))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
