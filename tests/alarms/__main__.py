"""`make alarms`: every alert of `deploy/observability/alerts.yml`, once, by a real fault.

A service with people who talk all the time, and a Prometheus with the real rules, fifteen times
faster. One fault after the other: the alerts that ought to fire do, no others; a picture is taken;
the fault is healed, and they resolve. Read `main` first.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cli.verify.part import Part
from tests.alarms.picture import Camera, panels, rows_of
from tests.alarms.rules import alerts, check
from tests.alarms.stage import Prometheus, Stage, staged
from tests.alarms.traffic import SLOW, Traffic
from tests.fixtures.waiting import until

CALM_SECONDS = 90.0
FIRE_SECONDS = 90.0
RESOLVE_SECONDS = 120.0
console = Console(highlight=False)

Deed = Callable[[Stage, Traffic], Awaitable[None]]
Photograph = Callable[["Drill"], Awaitable[None]]


@dataclass(frozen=True)
class Drill:
    what: str
    begin: Deed
    heal: Deed
    fire: frozenset[str]
    """Each of them must."""
    picture: str
    lingers: bool = False
    """It looks far back: it may go on firing while other things are tried."""


async def kill_workers_by_turns(stage: Stage, _: Traffic) -> None:
    for worker in stage.workers:
        await worker.kill()
        await worker.start()


async def end_workers(stage: Stage, _: Traffic) -> None:
    await asyncio.gather(*(worker.stop() for worker in stage.workers))


async def start_workers(stage: Stage, _: Traffic) -> None:
    await asyncio.gather(*(worker.start() for worker in stage.workers))


async def refuse_the_key(_: Stage, traffic: Traffic) -> None:
    traffic.says = "status 401"


async def accept_the_key(_: Stage, traffic: Traffic) -> None:
    traffic.says = SLOW


async def nothing(_: Stage, __: Traffic) -> None:
    """It is over by itself."""


def away(part: Callable[[Stage], list[Part]], *, by: signal.Signals = signal.SIGKILL) -> Deed:
    async def begin(stage: Stage, _: Traffic) -> None:
        await asyncio.gather(*(one.end(by, 10) for one in part(stage)))

    return begin


def back(part: Callable[[Stage], list[Part]]) -> Deed:
    async def heal(stage: Stage, _: Traffic) -> None:
        await asyncio.gather(*(one.start() for one in part(stage)))

    return heal


def _apis(stage: Stage) -> list[Part]:
    return stage.stack.apis


def _redis(stage: Stage) -> list[Part]:
    return [stage.stack.redis]


def _postgres(stage: Stage) -> list[Part]:
    return [stage.stack.postgres]


DRILLS = (
    Drill(
        "no worker is left",
        end_workers,
        start_workers,
        frozenset({"ParleyNoWorkers", "ParleyTurnsWait"}),
        "no-workers",
    ),
    Drill(
        "the provider refuses the key",
        refuse_the_key,
        accept_the_key,
        frozenset({"ParleyTurnsFail"}),
        "turns-fail",
    ),
    Drill(
        "Redis is away",
        away(_redis),
        back(_redis),
        frozenset({"ParleyStoreAway redis"}),
        "redis-away",
    ),
    Drill(
        "workers are killed, one after the other",
        kill_workers_by_turns,
        nothing,
        frozenset({"ParleyTakeovers"}),
        "takeovers",
        lingers=True,
    ),
    Drill(
        "Postgres is away",
        away(_postgres, by=signal.SIGQUIT),
        back(_postgres),
        frozenset({"ParleyStoreAway postgres", "ParleyRequestsFail"}),
        "postgres-away",
    ),
    Drill("no API is left", away(_apis), back(_apis), frozenset({"ParleyNoApi"}), "no-api"),
)


class Judge:
    """Looks at what fires, and complains of what ought not to."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self.wrong: list[str] = []
        self.lingering: frozenset[str] = frozenset()

    async def all_fire(self, wanted: frozenset[str]) -> bool:
        return wanted <= await self._look(wanted)

    async def calm(self, over: frozenset[str] = frozenset()) -> bool:
        """Nothing fires but what lingers. `over` may, for a while."""
        return not await self._look(over) - self.lingering

    async def silent(self) -> bool:
        return not await self._look(self.lingering)

    async def _look(self, wanted: frozenset[str]) -> set[str]:
        firing = await self._prometheus.firing()
        for name in firing - wanted - self.lingering:
            if name not in self.wrong:
                self.wrong.append(name)
                console.print(f"   [red]{name} fires, and should not[/]")
        return firing


async def drill(
    one: Drill, stage: Stage, traffic: Traffic, judge: Judge, photograph: Photograph
) -> None:
    console.print(f"[bold]{one.what}[/]")
    began = time.monotonic()
    await one.begin(stage, traffic)
    names = ", ".join(sorted(one.fire))
    await within(FIRE_SECONDS, lambda: judge.all_fire(one.fire), f"{names} fires")
    console.print(f"   {names}: fires after {time.monotonic() - began:.0f} s")
    await photograph(one)
    began = time.monotonic()
    await one.heal(stage, traffic)
    if one.lingers:
        judge.lingering |= one.fire
        return
    await within(RESOLVE_SECONDS, lambda: judge.calm(one.fire), f"{names} resolves")
    console.print(f"   resolved after {time.monotonic() - began:.0f} s")


def panel_of(alert: str) -> int:
    """Its number in the dashboard."""
    found = next(rule for rule in alerts() if rule["alert"] == alert)
    return int(found["annotations"]["dashboard"].rpartition("=")[2])


async def within(seconds: float, condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Raises SystemExit where it doesn't come true."""
    try:
        await until(condition, seconds=seconds)
    except TimeoutError:
        raise SystemExit(f"Not within {seconds:.0f} s: {what}") from None


async def run(program: Path, pictures: Path, *, whole: bool) -> list[str]:
    """What went wrong. Raises SystemExit where an alert doesn't fire or resolve."""
    async with (
        staged(program) as stage,
        Traffic(stage.stack) as traffic,
        Camera(stage.prometheus) as camera,
    ):

        async def photograph(one: Drill) -> None:
            shown = rows_of({panel_of(name.split()[0]) for name in one.fire})
            await camera.shoot(panels() if whole else shown, pictures / f"{one.picture}.png")

        judge = Judge(stage.prometheus)
        for one in DRILLS:
            await within(CALM_SECONDS, lambda: busy(stage.prometheus, judge), "all is calm")
            await drill(one, stage, traffic, judge, photograph)
        await within(RESOLVE_SECONDS, judge.silent, "everything resolves")
        console.print("Everything is resolved")
        proven = {name.split()[0] for one in DRILLS for name in one.fire}
        unproven = {rule["alert"] for rule in alerts()} - proven
        return [*judge.wrong, *(f"{name} was never provoked" for name in unproven)]


async def busy(prometheus: Prometheus, judge: Judge) -> bool:
    """Everything is as on any day, and Prometheus sees it."""
    ended = await prometheus.now('sum(rate(parley_turns_ended_total{status="completed"}[10s])) > 1')
    waiting = await prometheus.now('max(parley_turns{status="queued"}) > 5')
    return bool(ended) and not waiting and await judge.calm()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path, help="the folder of prometheus and promtool")
    parser.add_argument("--pictures", type=Path, default=Path("screenshots/alarms"))
    parser.add_argument("--whole", action="store_true", help="pictures of the whole dashboard")
    given = parser.parse_args()
    began = time.monotonic()
    console.print(check(given.programs / "promtool").strip())
    wrong = asyncio.run(run(given.programs / "prometheus", given.pictures, whole=given.whole))
    console.print(f"{time.monotonic() - began:.0f} s; pictures are in {given.pictures}")
    for complaint in wrong:
        console.print(f"[red]{complaint}[/]")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
