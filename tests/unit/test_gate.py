from __future__ import annotations

import asyncio

import pytest

from tests.fixtures.waiting import until
from worker.gate import Gate

pytestmark = pytest.mark.anyio


async def test_few_are_let_in_at_once_in_the_order_they_came() -> None:
    gate, leave = Gate(2, patience=60), asyncio.Event()
    inside: list[int] = []

    async def enter(number: int) -> None:
        async with gate.passing():
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(enter(number)) for number in range(5)]
    await until(lambda: len(inside) == 2)
    leave.set()
    await asyncio.gather(*tasks)
    assert inside == [0, 1, 2, 3, 4]


async def test_nobody_waits_longer_than_the_patience_for_what_is_stuck() -> None:
    gate, entered = Gate(1, patience=0.01), 0

    async def enter() -> None:
        nonlocal entered
        async with gate.passing():
            entered += 1
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(enter()) for _ in range(3)]
    await until(lambda: entered == 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_gives_up_waiting_takes_no_place() -> None:
    gate = Gate(1, patience=60)
    async with gate.passing():
        waiting = asyncio.create_task(gate.passing().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), gate.passing():
        pass
