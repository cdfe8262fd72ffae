"""One round: so many clients, so many turns each, what each took and whose CPU it was."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.clients import Client, Timing
from bench.processes import Meter
from bench.provider import Pace
from bench.stage import Stage

AT_ONCE = 64
FAST = "Tell me something about it."
NAIVE = ("naive", "postgres")
OTHERS = ("model", "provider")


@dataclass
class Round:
    """Latencies are seconds at the client, the model's own time taken off."""

    accepted: list[float]
    added: list[float]
    """To the first token."""
    done: list[float]
    seconds: float
    cpu: dict[str, float]
    """Seconds of each part of the system."""
    clients_cpu: float
    """Seconds of the clients and of the stand-in model."""
    foreign: float

    @property
    def turns(self) -> int:
        return len(self.added)

    @property
    def rate(self) -> float:
        """Turns a second."""
        return self.turns / self.seconds

    @property
    def cpu_per_turn(self) -> float:
        return sum(self.cpu.values()) / self.turns


def batched(parties: Sequence[Client], size: int) -> Iterator[Sequence[Client]]:
    for start in range(0, len(parties), size):
        yield parties[start : start + size]


async def play(
    stage: Stage,
    make: Callable[[int], Client],
    *,
    clients: int,
    turns: int,
    pace: Pace | None = None,
) -> Round:
    """Every client has a new conversation and a first turn that isn't measured."""
    first, whole = (pace.first, pace.seconds) if pace else (0.0, 0.0)
    text = f"Tell me something about it {pace.words}." if pace else FAST
    parties = [make(number) for number in range(clients)]
    for some in batched(parties, AT_ONCE):
        await asyncio.gather(*(party.begin() for party in some))
        await asyncio.gather(*(party.turn(FAST) for party in some))

    async def talk(number: int, party: Client) -> list[Timing]:
        # People don't speak in unison, and a model with a pace would keep them at it.
        await asyncio.sleep(whole * number / clients)
        return [await party.turn(text) for _ in range(turns)]

    with Meter(stage.pids) as meter:
        talks = await asyncio.gather(*(talk(*one) for one in enumerate(parties)))
    timings = [timing for said in talks for timing in said]
    for party in parties:
        await party.close()
    naive = make == stage.naive
    counted = [n for n in stage.pids if n not in OTHERS and (not naive or n in NAIVE)]
    if not naive:
        counted.remove("naive")
    return Round(
        accepted=[timing.accepted for timing in timings],
        added=[timing.first_token - first for timing in timings],
        done=[timing.done - whole for timing in timings],
        seconds=meter.seconds,
        cpu={name: meter.spent[name] for name in counted},
        clients_cpu=meter.own + meter.spent["provider"],
        foreign=meter.foreign,
    )


def p50(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def joined(rounds: Sequence[Round]) -> Round:
    """All of them as one: its rate is the mean of theirs."""
    return Round(
        accepted=[value for round in rounds for value in round.accepted],
        added=[value for round in rounds for value in round.added],
        done=[value for round in rounds for value in round.done],
        seconds=sum(round.seconds for round in rounds),
        cpu={name: sum(round.cpu[name] for round in rounds) for name in rounds[0].cpu},
        clients_cpu=sum(round.clients_cpu for round in rounds),
        foreign=max(round.foreign for round in rounds),
    )
