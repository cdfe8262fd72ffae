"""Does it stay as fast as it grows? `python -m bench.flat`, and with `--full` the whole of it.

The same is asked where there is little and where there is much, in turns, and each transaction is
timed from its BEGIN to its end, as its owner. There is much in

- a conversation with 10,000 messages, beside one with 100;
- the list of an owner with 100,000 conversations, beside one with 21: both read a page of 20 and
  see that there is more;
- a database with 200,000 turns that have ended (`--full`: 5,000,000) and their messages, beside one
  with none; where it is for a context of 50 messages, 1,000 of the turns are the conversation's
  own, beside 25 in a database that has only such conversations.

All is asked a second time where Postgres has never counted its rows. Target: 1.15 times at most.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psutil

from api.history import changes_since, newest_page
from bench.figures import database, settings_for
from bench.flat_rows import (
    FEW,
    MANY,
    NEW,
    SHORT_LISTS,
    Place,
    Size,
    active,
    fill,
    freely,
    place_of,
    undo,
)
from bench.processes import Meter
from bench.results import Figure, report
from bench.second_wall import say
from migrations.run import upgrade
from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import Unavailable
from shared.ids import new_id
from shared.store.claims import claim
from shared.store.context import CONTEXT_MESSAGES, load_conversation_context
from shared.store.conversations import list_conversations
from shared.store.messages import seq_at
from shared.store.waiting import conversations_to_run
from shared.store.workers import renew_lease

FULL = Size(
    turns=5_000_000,
    conversations=100_000,
    claimed=100,
    rounds=500,
    uncounted_rounds=300,
    patience=60,
)
LIMIT = 1.15
WARM_UP = 10
PAGE = 100
LIST_PAGE = 20
NEWS = 60
"""So many changes ago a viewer looked last: ten turns."""
FREE = 50
RUNNING_LIMIT = 100
WORKER_ID = new_id()
EXTRA = ("fsync=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=8GB")


class Clock:
    """Seconds, by what was done meanwhile."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, what: str) -> Generator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.times[what].append(time.perf_counter() - began)

    def medians(self) -> dict[str, float]:
        """In milliseconds."""
        return {what: statistics.median(times) * 1000 for what, times in self.times.items()}


Work = Callable[[Clock, Place, int], Awaitable[None]]


async def read_newest(clock: Clock, place: Place, n: int) -> None:
    conversation_id, owner = place.nth(n)
    with clock("newest 100 messages"):
        page = await newest_page(place.db, conversation_id, owner=owner, limit=PAGE, before=None)
    assert page is not None
    assert len(page.messages) == PAGE


async def load_context(clock: Clock, place: Place, n: int) -> None:
    conversation_id, _ = place.nth(n)
    with clock("context of 50 messages"):
        async with place.db.transaction(EVERYONE) as tx:
            context = await load_conversation_context(
                tx, conversation_id, order=place.kind.last_seq
            )
    assert len(context) == CONTEXT_MESSAGES


async def read_since(clock: Clock, place: Place, n: int) -> None:
    conversation_id, owner = place.nth(n)
    since = place.kind.last_seq - NEWS
    with clock("changes since a number"):
        page = await changes_since(place.db, conversation_id, owner=owner, since=since, limit=PAGE)
    assert page is not None
    assert len(page.messages) == 4 * len(page.turns)
    with clock("a time as a number"):
        async with place.db.snapshot(owner) as tx:
            seq = await seq_at(tx, conversation_id, page.messages[0].created_at)
    assert seq == page.messages[0].seq


async def read_list(clock: Clock, place: Place, n: int) -> None:
    _, owner = place.nth(n)
    middle = place.middle[n % len(place.middle)]
    for what, after in (("first page", None), ("page in the middle", middle)):
        with clock(what):
            async with place.db.snapshot(owner) as tx:
                page = await list_conversations(tx, owner=owner, limit=LIST_PAGE, after=after)
        assert len(page) == LIST_PAGE + 1


async def sweep(what: str, clock: Clock, place: Place, _: int) -> None:
    with clock(what):
        async with place.db.transaction(EVERYONE) as tx:
            await conversations_to_run(tx, limit=FREE, running_limit=RUNNING_LIMIT)


async def accept_and_claim(clock: Clock, place: Place, n: int) -> None:
    """As `api/actions.py` and `worker/turn.py` do it."""
    conversation_id, owner = place.nth(n)
    try:
        with clock("accept"):
            async with place.db.transaction(owner) as tx:
                await say(tx, owner, conversation_id)
        if n == -WARM_UP:
            async with place.db.transaction(EVERYONE) as tx:
                await renew_lease(tx, WORKER_ID, lease=timedelta(hours=1))
        with clock("claim"):
            assert await claim_head(place.db, conversation_id) == min(
                place.kind.message_count + 1, CONTEXT_MESSAGES
            )
    finally:
        await undo(place, conversation_id)


async def claim_head(db: Database, conversation_id: UUID) -> int:
    """How many messages the model would read."""
    async with db.transaction(EVERYONE) as tx:
        claimed = await claim(
            tx, conversation_id, worker_id=WORKER_ID, model="bench", running_limit=RUNNING_LIMIT
        )
        assert claimed is not None
        return len(await load_conversation_context(tx, conversation_id, order=claimed.order))


@dataclass(frozen=True)
class Question:
    work: Work
    small: Place
    big: Place
    of: str
    """What there is much of."""

    async def ask(self, rounds: int, patience: float) -> list[Figure]:
        """Who goes first changes with each round; the times of the first rounds are not kept. What
        Postgres gave up counts as long as that took.
        """
        pairs = [(Clock(), self.small), (Clock(), self.big)]
        deadline = time.monotonic() + patience
        for n in range(-WARM_UP, rounds):
            for clock, place in pairs if n % 2 else reversed(pairs):
                with suppress(Unavailable):
                    await self.work(clock if n >= 0 else Clock(), place, n)
            if n >= 0 and time.monotonic() > deadline:
                break
        small, big = (clock.medians() for clock, _ in pairs)
        return [
            Figure(f"{what}, {self.of}", value, "ms", beside=small[what], limit=LIMIT)
            for what, value in big.items()
        ]


@dataclass(frozen=True)
class Stage:
    """The databases, by what they have of turns that ended; lists and histories are in `much`."""

    size: Size
    much: Database
    none: Database
    young: Database

    async def ask(self, rounds: int) -> list[Figure]:
        size, much, turns = self.size, self.much, f"beside {self.size.turns:,} turns"
        new = await place_of(self.none, NEW), await place_of(much, NEW)
        history = await place_of(much, FEW), await place_of(much, MANY)
        lists = await place_of(much, SHORT_LISTS), await place_of(much, size.long_list)
        own = await place_of(self.young, size.young), await place_of(much, size.old)
        questions = (
            Question(partial(sweep, "sweep, none waits"), *new, turns),
            Question(read_newest, *history, "of 10,000"),
            Question(load_context, *history, "of 10,000"),
            Question(read_since, *history, "of 10,000"),
            Question(read_list, *lists, f"of {size.listed:,} conversations"),
            Question(accept_and_claim, *new, f"the first, {turns}"),
            Question(accept_and_claim, *own, f"the 1,001st, {turns}"),
        )
        # First, for what is claimed later leaves rows behind that only a VACUUM removes.
        waiting = Question(partial(sweep, "sweep, 400 wait or run"), *new, turns)
        async with active(self.none, much):
            figures = await waiting.ask(rounds, size.patience)
        for question in questions:
            figures += await question.ask(rounds, size.patience)
        return figures


async def run(size: Size, much: str, none: str, young: str) -> list[Figure]:
    for url in (none, young):
        async with freely(much) as do:
            await do(f"CREATE DATABASE {urlsplit(url).path[1:]}")
        await asyncio.to_thread(upgrade, url)
    for url, kinds in ((much, size.much), (none, size.none), (young, (size.young,))):
        await fill(url, kinds)
    databases = [Database(settings_for(url)) for url in (much, none, young)]
    stage = Stage(size, *databases)
    uncounted = await stage.ask(size.uncounted_rounds)
    for url in (much, none, young):
        async with freely(url) as do:
            await do("VACUUM ANALYZE")
            await do("CHECKPOINT")
    figures = await stage.ask(size.rounds)
    for db in databases:
        await db.close()
    return figures + [
        # Soon after rows are counted as they come: no target holds before.
        replace(figure, what=f"uncounted: {figure.what}", limit=None)
        for figure in uncounted
    ]


def asked_size() -> Size:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    for field in fields(Size):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int)
    asked = vars(parser.parse_args())
    size = FULL if asked.pop("full") else Size()
    return replace(size, **{name: value for name, value in asked.items() if value is not None})


def main() -> None:
    size = asked_size()
    with database(*(word for setting in EXTRA for word in ("-c", setting))) as much:
        none, young = (urlunsplit(urlsplit(much)._replace(path=f"/{n}")) for n in ("none", "young"))
        # Postgres is all that was started here.
        with Meter({"postgres": psutil.Process().children()[0].pid}) as meter:
            figures = asyncio.run(run(size, much, none, young))
    title = f"Does it stay as fast as it grows? Much beside little, medians of up to {size.rounds}"
    report("flat", title, figures, foreign=meter.foreign)


if __name__ == "__main__":
    main()
