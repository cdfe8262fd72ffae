"""A service in miniature: where each turn spends its time, with the costs that were measured.

Every event loop works at one thing at a time, Postgres at several, and all of them need a core of
the machine they share; a commit waits for the disk, and a model thinks. Nothing else is simulated:
no cache that warms, no batch that forms.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

BACKENDS = 16
WARM_UP = 0.2
"""Of the simulated time."""


@dataclass(frozen=True)
class Costs:
    """CPU milliseconds of a turn in each part, and milliseconds it waits without CPU."""

    api: float
    worker: float
    postgres: float
    redis: float
    clients: float = 0.0
    """Of the load generator, where it shares the machine."""
    commit: float = 1.0
    first: float = 0.0
    """Of the model to its first token."""
    rest: float = 0.0
    """And from then on."""


@dataclass(frozen=True)
class Shape:
    apis: int = 1
    workers: int = 1
    cores: int | None = None
    """That all share; None: each process has its own, and Postgres as many as it can use."""


@dataclass
class Found:
    rate: float = 0.0
    first_token: list[float] = field(default_factory=list[float])
    """Milliseconds that were added to the model's."""
    busy: dict[str, float] = field(default_factory=dict[str, float])
    """Of each kind of process, the share of its time at work."""


class Place:
    """Serves so many at once, the others in the order they came."""

    def __init__(self, servers: int) -> None:
        self.free = servers
        self.waiting: deque[Callable[[], None]] = deque()

    def enter(self, go: Callable[[], None]) -> None:
        if self.free:
            self.free -= 1
            go()
        else:
            self.waiting.append(go)

    def leave(self) -> None:
        if self.waiting:
            self.waiting.popleft()()
        else:
            self.free += 1


Step = tuple[str, float]
"""A part and its milliseconds; the part \"wait\" needs nothing, \"mark\" is the first token."""


class World:
    def __init__(self, shape: Shape, costs: Costs, *, seed: int = 1) -> None:
        self.now = 0.0
        self._costs = costs
        self._random = random.Random(seed)  # noqa: S311
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._cores = Place(shape.cores or 10**9)
        self._places = {
            "api": [Place(1) for _ in range(shape.apis)],
            "worker": [Place(1) for _ in range(shape.workers)],
            "postgres": [Place(BACKENDS if shape.cores else 10**9)],
            "redis": [Place(1)],
            "clients": [Place(1)],
        }
        self._spent = dict.fromkeys(self._places, 0.0)
        self._ended: list[tuple[float, float]] = []

    def at(self, delay: float, go: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._count), go))

    def turn(self, after: Callable[[], None]) -> None:
        began, steps = self.now, self._steps()
        api, worker = (self._random.choice(self._places[kind]) for kind in ("api", "worker"))
        first = 0.0

        def go_on() -> None:
            nonlocal first
            for part, cost in steps:
                if part == "mark":
                    first = self.now - began - self._costs.first
                elif part == "wait":
                    self.at(cost, go_on)
                    return
                else:
                    own = {"api": api, "worker": worker}
                    self._work(part, own.get(part) or self._places[part][0], cost, go_on)
                    return
            self._ended.append((self.now, first))
            after()

        go_on()

    def _steps(self) -> Generator[Step]:
        """In the order of a turn; how a part's cost falls on its steps is an estimate."""
        c = self._costs
        yield from (("clients", c.clients * 0.3), ("api", c.api * 0.45))
        yield from (("postgres", c.postgres * 0.3), ("wait", c.commit), ("redis", c.redis * 0.3))
        yield from (("worker", c.worker * 0.35), ("postgres", c.postgres * 0.35))
        yield from (("wait", c.commit), ("worker", c.worker * 0.2), ("wait", c.first))
        yield from (("redis", c.redis * 0.3), ("api", c.api * 0.1), ("mark", 0.0))
        yield from (("wait", c.rest), ("worker", c.worker * 0.45), ("postgres", c.postgres * 0.35))
        yield from (("wait", c.commit), ("redis", c.redis * 0.4), ("api", c.api * 0.45))
        yield ("clients", c.clients * 0.7)

    def _work(self, part: str, place: Place, cost: float, done: Callable[[], None]) -> None:
        def end() -> None:
            self._spent[part] += cost
            self._cores.leave()
            place.leave()
            done()

        place.enter(lambda: self._cores.enter(lambda: self.at(cost, end)))

    def run(self, milliseconds: float) -> Found:
        while self._events and self._events[0][0] <= milliseconds:
            self.now, _, go = heapq.heappop(self._events)
            go()
        since = milliseconds * WARM_UP
        counted = [first for at, first in self._ended if at > since]
        seconds = (milliseconds - since) / 1000
        busy = {
            part: self._spent[part] / milliseconds / len(places)
            for part, places in self._places.items()
        }
        return Found(len(counted) / seconds, counted, busy)


def closed(shape: Shape, costs: Costs, *, clients: int, seconds: float = 20) -> Found:
    """Clients who say something as soon as they were answered."""
    world = World(shape, costs)

    def again() -> None:
        world.turn(again)

    for number in range(clients):
        world.at((costs.first + costs.rest) * number / clients, again)
    return world.run(seconds * 1000)


def open_(shape: Shape, costs: Costs, *, rate: float, seconds: float = 60) -> Found:
    """People who come by themselves, so many a second."""
    world, chance = World(shape, costs), random.Random(2)  # noqa: S311

    def come() -> None:
        world.turn(lambda: None)
        world.at(chance.expovariate(rate) * 1000, come)

    world.at(0, come)
    return world.run(seconds * 1000)
