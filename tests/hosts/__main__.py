"""`make hosts`: the service on hosts of its own, cables that are pulled, and what came of it.

Read `play` first: it is the whole story.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cli.errors import CliError
from tests.hosts import apis, everybody, workers
from tests.hosts.namespace import TUN, why_not
from tests.hosts.network import Network
from tests.hosts.report import table
from tests.hosts.service import CLIENT, Service, names
from tests.hosts.stage import Stage

Scenario = Callable[[Stage], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    "worker": workers.cut_from_everything,
    "worker-long": workers.cut_for_long,
    "worker-postgres": workers.cut_from_postgres,
    "worker-redis": workers.cut_from_redis,
    "api-clients": apis.cut_from_clients,
    "api-postgres": apis.cut_from_postgres,
    "api-redis": apis.cut_from_redis,
    "weather": everybody.weather,
    "redis": everybody.redis_gone,
    "postgres": everybody.postgres_gone,
    "all-well": everybody.all_well,
}
"""By the name that the table and the command give them, in their order."""


async def play(wanted: list[str], options: argparse.Namespace, root: Path) -> Stage:
    """Moves to the clients' host for good. Raises CliError if the service doesn't start."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with Network(names(workers=options.workers, apis=options.apis)) as network:
        network.hosts[CLIENT].move_in()
        settings = {"PARLEY_STREAM_SEND_TIMEOUT_SECONDS": f"{apis.TAKING_SECONDS:g}"}
        settings |= dict(pair.split("=", 1) for pair in options.set)
        service = Service(
            root, network, workers=options.workers, apis=options.apis, settings=settings
        )
        stage = Stage(network, service, slack=options.slack)
        try:
            say(f"{len(network.hosts)} hosts, the service starts")
            await service.start()
            for name in wanted:
                await perform(stage, name)
            stage.read_logs()
            stage.packets = network.counts()
            await service.stop()
            stage.violations += [f"{each}" for each in service.complaints.violations]
        finally:
            await stage.close()
            await service.abandon()
    return stage


async def perform(stage: Stage, name: str) -> None:
    """One that breaks down is a violation, and the next one begins on a healed network."""
    began = time.monotonic()
    stage.scenario = name
    say(name)
    try:
        await SCENARIOS[name](stage)
        await stage.heal()
    except Exception:
        stage.violations.append(f"{name} broke down:\n{traceback.format_exc()}")
        stage.network.heal()
    stage.note("seconds in all", f"{time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    options = arguments()
    if reason := why_not():
        say(f"make hosts needs Linux, root and {TUN}: {reason}")
        return 2
    began = time.monotonic()
    with scratch(options.data_dir) as folder:
        try:
            stage = asyncio.run(play(options.scenarios or [*SCENARIOS], options, folder))
        except (asyncio.CancelledError, KeyboardInterrupt):
            say("Interrupted")
            return 130
        except CliError as error:
            say(str(error))
            return 2
    sys.stdout.write(f"{table(stage, time.monotonic() - began)}\n")
    return 1 if stage.violations else 0


@contextmanager
def scratch(kept: Path | None) -> Generator[Path]:
    """A new directory; within `kept`, which is then left for whoever wants to read the logs."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="hosts-", dir=kept))
        return
    with tempfile.TemporaryDirectory(prefix="parley-hosts-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--apis", type=int, default=2)
    parser.add_argument("--data-dir", type=Path, help="where logs and rows are kept")
    parser.add_argument("--slack", type=float, default=0, help="seconds more for all that is timed")
    parser.add_argument("--set", action="append", default=[], metavar="PARLEY_…=…")
    options = parser.parse_args()
    if unknown := {*options.scenarios} - {*SCENARIOS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
