"""What happens to all at once: bad weather, and a store that is gone for a while."""

from __future__ import annotations

import asyncio
import time

from tests.hosts.network import Weather
from tests.hosts.stage import Stage

STORMY = (Weather(0.05, 0.02, 0.02), Weather(0.05, 0.02, 0.05))
TURNS = 12
AWAY_SECONDS = 10.0


async def weather(stage: Stage) -> None:
    """50 ± 20 ms each way on all paths, of which 2 and then 5 of a hundred packets get lost."""
    for rough in STORMY:
        resent, lost = stage.network.resent(), stage.network.counts().get("lost", 0)
        began = time.monotonic()
        async with stage.talking(stage.pairs(TURNS // 2)) as talking:
            stage.network.blow(rough)
            await talking.ended()
            seconds = time.monotonic() - began
            lost = stage.network.counts().get("lost", 0) - lost
            resent = stage.network.resent() - resent
            reconnects = talking.ledger.counts["reconnects"]
        stage.note(f"{TURNS} messages at {rough.loss:.0%} loss", f"{seconds:.1f} s")
        stage.note("… times that viewers came back", reconnects)
        stage.note("… packets lost; segments sent again", f"{lost}; {resent}")
        stage.expect("it did lose packets", lost > 0 and resent > 0)


async def redis_gone(stage: Stage) -> None:
    await _gone(stage, "redis")


async def postgres_gone(stage: Stage) -> None:
    await _gone(stage, "postgres")


async def _gone(stage: Stage, store: str) -> None:
    """For ten seconds, to everybody, while clients talk."""
    async with stage.talking(stage.chatter(TURNS)) as talking:
        await stage.until("turns have begun", lambda: len(talking.ledger.sent) >= 4, 20)
        stage.network.cut(store)
        await asyncio.sleep(AWAY_SECONDS)
        healed = time.monotonic()
        await stage.heal()
        await talking.ended()
        stage.note(
            "clients through with all they say, after the healing",
            f"{time.monotonic() - healed:.1f} s",
        )


async def all_well(stage: Stage) -> None:
    """In the end: no turn waits or runs, so none is held, and all say that they are ready."""
    stage.took("no turn of anybody left", await stage.until("rest", stage.at_rest, 20), 2)
    stage.took("all are ready", await stage.until("all are well", stage.is_well, 20), 2)
