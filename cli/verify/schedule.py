"""The storm's faults, decided before anything runs: the same seed gives the same list.

What the clients say has a stream of randomness of its own (`script.py`): neither shifts the other.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum


class Fault(StrEnum):
    worker_killed = "worker_killed"
    worker_frozen = "worker_frozen"
    worker_terminated = "worker_terminated"
    api_killed = "api_killed"
    api_terminated = "api_terminated"
    redis_killed = "redis_killed"
    redis_frozen = "redis_frozen"
    redis_flushed = "redis_flushed"
    postgres_stopped = "postgres_stopped"
    postgres_connections_killed = "postgres_connections_killed"
    rolling_restart = "rolling_restart"


MEANING = {
    Fault.worker_killed: "SIGKILL to a worker; a new one is started a moment later",
    Fault.worker_frozen: "SIGSTOP to a worker until its lease has run out, then SIGCONT: a zombie",
    Fault.worker_terminated: "SIGTERM to a worker: it drains, hands back, exits; then a new one",
    Fault.api_killed: "SIGKILL to an API; a new one is started a moment later",
    Fault.api_terminated: "SIGTERM to an API with its streams open; then a new one",
    Fault.redis_killed: "SIGKILL to Redis; it comes back empty",
    Fault.redis_frozen: "SIGSTOP to Redis: it accepts and does not answer; then SIGCONT",
    Fault.redis_flushed: "FLUSHALL",
    Fault.postgres_stopped: "SIGQUIT to Postgres: an immediate stop, recovery at the next start",
    Fault.postgres_connections_killed: "pg_terminate_backend for every connection there is",
    Fault.rolling_restart: "SIGTERM and a new start for every worker, one after the other",
}

# One deck; it is shuffled anew each time it is used up, so every kind comes round.
DECK = (
    *[Fault.worker_killed] * 4,
    *[Fault.worker_frozen] * 2,
    *[Fault.worker_terminated] * 2,
    *(fault for fault in Fault if not fault.startswith("worker_")),
)
FIRST_GAP = (0.6, 1.2)
GAP = (1.0, 4.0)
BACK_AFTER = (0.0, 1.5)
AWAY = {
    Fault.redis_killed: (0.5, 3.0),
    Fault.redis_frozen: (1.0, 4.0),
    Fault.postgres_stopped: (0.2, 1.5),
    Fault.redis_flushed: (0.0, 0.0),
    Fault.postgres_connections_killed: (0.0, 0.0),
    Fault.rolling_restart: (0.0, 0.0),
}
BEYOND_LEASE = (1.0, 3.0)
# How long a start takes, about. Where it takes longer, the next fault waits for its target.
BOOT = {"worker": 4.0, "api": 2.5, "redis": 0.2, "postgres": 1.0}
CALM_SECONDS = 2.0
"""Between a process's readiness and its next fault: it must have done something worth losing."""
STEP_SECONDS = 0.25
HASHED = 1000


@dataclass(frozen=True)
class Planned:
    """A fault, `at` seconds after the clients began; the part is away for `seconds`."""

    at: float
    fault: Fault
    target: str
    seconds: float


class Schedule:
    """Without an end; `faults()` begins at the beginning each time."""

    def __init__(self, seed: int, *, workers: int, apis: int, lease: float) -> None:
        self._seed = seed
        self._lease = lease
        self._workers = [f"worker-{number}" for number in range(1, workers + 1)]
        self._apis = [f"api-{number}" for number in range(1, apis + 1)]

    @property
    def hash(self) -> str:
        """Of the first thousand faults: more than half an hour."""
        first = [astuple(planned) for planned in itertools.islice(self.faults(), HASHED)]
        return hashlib.sha256(repr(first).encode()).hexdigest()[:8]

    def faults(self) -> Iterator[Planned]:
        dice = random.Random(f"faults {self._seed}")  # noqa: S311
        busy_until: dict[str, float] = {}
        deck = [Fault.worker_killed]  # a short storm has one too
        at = _between(dice, FIRST_GAP)
        while True:
            if not deck:
                deck = dice.sample(DECK, len(DECK))
            planned = self._play(deck, dice, at, busy_until)
            if planned is None:
                at += STEP_SECONDS
                continue
            yield planned
            at += _between(dice, GAP)

    def _play(
        self, deck: list[Fault], dice: random.Random, at: float, busy_until: dict[str, float]
    ) -> Planned | None:
        """The first card that hits somebody who is well; None if there is none right now."""
        for place, fault in enumerate(deck):
            free = [name for name in self._targets(fault) if busy_until.get(name, 0.0) <= at]
            if fault.startswith("api_") and len(free) < len(self._apis):
                continue  # somebody has to be there for the clients
            if not free:
                continue
            del deck[place]
            target = dice.choice(free)
            seconds = round(_between(dice, self._away(fault)), 2)
            self._occupy(fault, target, at + seconds, busy_until)
            return Planned(round(at, 2), fault, target, seconds)
        return None

    def _targets(self, fault: Fault) -> Sequence[str]:
        match fault.split("_")[0]:
            case "worker":
                return self._workers
            case "api":
                return self._apis
            case "rolling":
                return ["workers"]
            case store:
                return [store]

    def _away(self, fault: Fault) -> tuple[float, float]:
        if fault is Fault.worker_frozen:
            least, most = BEYOND_LEASE
            return self._lease + least, self._lease + most
        return AWAY.get(fault, BACK_AFTER)

    def _occupy(self, fault: Fault, target: str, back: float, busy_until: dict[str, float]) -> None:
        if fault is not Fault.rolling_restart:
            boot = 0.0 if fault is Fault.worker_frozen else BOOT[target.split("-")[0]]
            busy_until[target] = back + boot + CALM_SECONDS
            return
        for name in self._workers:
            back = max(back, busy_until.get(name, 0.0)) + BOOT["worker"] + CALM_SECONDS
            busy_until[name] = back
        busy_until[target] = back


def _between(dice: random.Random, limits: tuple[float, float]) -> float:
    return dice.uniform(*limits)
