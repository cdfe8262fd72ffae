"""What a search costs an owner with few, many and very many messages: `python -m bench.search`.

An index of words is no help under row-level security: the newest messages are gone through, and
no more than `CONSIDERED` of them, so the cost has an end.
"""

from __future__ import annotations

import asyncio
import time

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.figures import database, median_and_p99, milliseconds, settings_for
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.store.search import search_messages

MESSAGES = (1_000, 10_000, 100_000)
AT_ONCE = 2_000
ROUNDS = 10
ASKED = {"a rare word": "needle", "a common word": "word17", "a beginning": "word1", "none": "zzz"}

CONVERSATIONS = """
    INSERT INTO conversations (id, user_id, title)
    SELECT md5('c' || n)::uuid, 'alice', 'bench' FROM generate_series(0, 99) n
"""
# A hundred words each, of five thousand there are.
FILL = """
    INSERT INTO messages (id, conversation_id, user_id, seq, changed_seq, role, content, status)
    SELECT ('0190' || lpad(to_hex(n), 8, '0') || right(md5(n::text), 20))::uuid,
      md5('c' || n % 100)::uuid, 'alice', n, n, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
      (SELECT string_agg('word' || abs(hashint4(n * 200 + k)) % 5000, ' ')
       FROM generate_series(1, 100) k) || CASE WHEN n % 50 = 0 THEN ' needle' ELSE '' END,
      'completed'
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n
"""


async def measure(url: str) -> Table:
    db = Database(settings_for(url))
    table = Table("messages", *(f"{name} ms" for name in ASKED))
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text(CONVERSATIONS))
    there = 0
    for count in MESSAGES:
        while there < count:
            last = min(there + AT_ONCE, count)
            async with db.transaction(EVERYONE) as tx:
                await tx.execute(text(FILL), {"first": there + 1, "last": last})
            there = last
        async with db.transaction(LOGIN) as tx:
            await tx.execute(text("ANALYZE messages"))
        medians = [median_and_p99(await times_of(db, said))[0] for said in ASKED.values()]
        table.add_row(str(count), *map(milliseconds, medians))
    await db.close()
    return table


async def times_of(db: Database, said: str) -> list[float]:
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        async with db.search("alice") as tx:
            await search_messages(tx, said, owner="alice", limit=20)
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    with database() as url:
        table = asyncio.run(measure(url))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
