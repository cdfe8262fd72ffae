"""Does to a stack what the schedule says, and notes when which store was away."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import assert_never

from cli.verify.part import Part, until
from cli.verify.schedule import CALM_SECONDS, Fault, Planned, Schedule
from cli.verify.stack import STOP_SECONDS, Stack
from shared.connection import LOGIN
from shared.errors import RequestError
from shared.store.proof import end_all_connections

ALONE_SECONDS = 10.0
"""After this a worker is hit although it is the last."""


@dataclass(frozen=True)
class Outage:
    """A store was not itself in this time."""

    store: str
    began: float
    ended: float


class Chaos:
    """`run()` until cancelled, then `settle()`."""

    def __init__(self, stack: Stack, schedule: Schedule) -> None:
        self.counts: Counter[Fault] = Counter()
        self.outages: list[Outage] = []
        self.last: Planned | None = None
        self._stack = stack
        self._schedule = schedule
        self._parts = {part.name: part for part in stack.parts}
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    async def run(self) -> None:
        began = asyncio.get_running_loop().time()
        for planned in self._schedule.faults():
            await asyncio.sleep(began + planned.at - asyncio.get_running_loop().time())
            self._tasks.append(asyncio.create_task(self._do(planned)))

    async def settle(self) -> None:
        """What was begun is brought to its end; what waits for its target is left out.

        Raises what a fault raised: the storm itself must not be broken.
        """
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _do(self, planned: Planned) -> None:
        if planned.fault is Fault.rolling_restart:
            await self._restart_all(planned)
            return
        part = self._parts[planned.target]
        async with part.lock:
            await self._leave_one_well(part)
            # One that ended by itself is complained of elsewhere.
            if part.running and not self._over:
                self._count(planned)
                await self._hit(planned, part)
                await self._calm()

    async def _restart_all(self, planned: Planned) -> None:
        self._count(planned)
        for worker in self._stack.workers:
            async with worker.lock:
                await self._leave_one_well(worker)
                if not self._over:
                    await worker.stop()
                    await worker.start()
                    await self._calm()

    async def _leave_one_well(self, part: Part) -> None:
        """On a busy machine a start takes long: somebody should be there to take over, mostly."""
        others = [worker for worker in self._stack.workers if worker is not part]
        if part in self._stack.workers and others:
            await until(
                lambda: self._over or any(worker.well for worker in others),
                seconds=ALONE_SECONDS,
            )

    async def _calm(self) -> None:
        if not self._over:
            await asyncio.sleep(CALM_SECONDS)

    def _count(self, planned: Planned) -> None:
        self.counts[planned.fault] += 1
        self.last = planned

    async def _hit(self, planned: Planned, part: Part) -> None:
        match planned.fault:
            case Fault.worker_killed | Fault.api_killed:
                await part.kill()
                await self._back(part, planned.seconds)
            case Fault.worker_terminated | Fault.api_terminated:
                await part.stop()
                await self._back(part, planned.seconds)
            case Fault.worker_frozen:
                await frozen(part, planned.seconds)
            case Fault.redis_killed:
                async with self._outage("redis"):
                    await part.kill()
                    await self._back(part, planned.seconds)
            case Fault.redis_frozen:
                async with self._outage("redis"):
                    await frozen(part, planned.seconds)
            case Fault.redis_flushed:
                async with self._outage("redis"):
                    await self._stack.flush_redis()
            case Fault.postgres_stopped:
                async with self._outage("postgres"):
                    await part.end(signal.SIGQUIT, STOP_SECONDS)
                    await self._back(part, planned.seconds)
            case Fault.postgres_connections_killed:
                async with self._outage("postgres"):
                    await self._end_connections()
            case Fault.rolling_restart:
                raise AssertionError("it has many targets")
            case _:
                assert_never(planned.fault)

    async def _back(self, part: Part, after: float) -> None:
        await asyncio.sleep(after)
        await part.start()

    async def _end_connections(self) -> None:
        database = self._stack.database()
        with suppress(RequestError):
            async with database.transaction(LOGIN) as tx:
                await end_all_connections(tx)
        await database.close()

    @asynccontextmanager
    async def _outage(self, store: str) -> AsyncGenerator[None]:
        began = time.time()
        try:
            yield
        finally:
            self.outages.append(Outage(store, began, time.time()))


async def frozen(part: Part, seconds: float) -> None:
    part.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        part.resume()
