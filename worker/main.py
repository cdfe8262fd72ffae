"""A worker process: `python -m worker.main`."""

from __future__ import annotations

import gc

# The Agents SDK makes a million objects while it loads, none of them garbage: looking for some
# among them is a fifth of a worker's start.
gc.disable()

import signal
import sys

# Loading takes seconds, and whoever is asked to stop meanwhile has nothing to hand back.
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))

import asyncio
import warnings
from contextlib import suppress

import pydantic
import structlog
import uvloop

# Most of the SDK's and MCP's models are never used here: each is built when it is.
pydantic.BaseModel.model_config["defer_build"] = True

from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import RequestError, SettingsError
from shared.feed import Feed
from shared.jobs import Jobs
from shared.log import configure_logging, on_stray_error
from shared.redis import REDIS_ERRORS, connect_redis, end
from shared.room import refuse_without_room
from shared.settings import Settings, load_settings
from shared.store.workers import leave
from shared.tracing import begin_tracing, end_tracing
from worker.agent import choose_model
from worker.migrated import Migrated
from worker.queue import RingWorker, ring_worker
from worker.sdk_spans import hear_the_sdk
from worker.sweep import Sweep, heartbeat
from worker.tools.mcp import Servers
from worker.tools.servers import load_servers
from worker.turn import Turns
from worker.watched import Watched

# The Agents SDK, cancelled before its first step.
warnings.filterwarnings("ignore", "coroutine 'run_single_turn' was never awaited", RuntimeWarning)

# What is loaded stays, and so does most of what a running turn has: with a thousand of them a look
# at everything takes a quarter of a second, in which nobody is answered. So it is a rare one.
gc.freeze()
gc.set_threshold(5_000, 10, 50)
gc.enable()

log = structlog.get_logger()

SETTLE_SECONDS = 2.0


def main() -> None:
    try:
        settings = load_settings()
        configure_logging(settings, process="worker")
        if begin_tracing(settings, process="worker"):
            hear_the_sdk()
        uvloop.run(serve(settings))
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    finally:
        end_tracing()


async def serve(settings: Settings) -> None:
    """Runs turns until SIGTERM or SIGINT, then drains."""
    asyncio.get_running_loop().set_exception_handler(on_stray_error)
    await refuse_without_room(settings)
    model = choose_model(settings)
    servers = Servers(load_servers(settings))
    db = Database(settings)
    redis = connect_redis(settings)
    feed = Feed(redis)
    turns = Turns(settings, db=db, feed=feed, jobs=Jobs(redis), model=model, servers=servers)
    queue = ring_worker(settings, redis, turns.run_all)
    sweep = Sweep(db, feed, settings, turns)
    watch = Watched(settings)
    stop = stop_signal()
    schema = Migrated(db)
    hearing = asyncio.create_task(feed.listen())
    beating = asyncio.create_task(schema.then(lambda: heartbeat(db, feed, settings, turns)))
    sweeping = asyncio.create_task(schema.then(sweep.run))
    listening = asyncio.create_task(schema.then(lambda: heard(queue, turns)))
    log.info("worker_started", worker_id=str(turns.worker_id), model=model.model.name)
    stopping = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait(
        {stopping, hearing, beating, sweeping, listening}, return_when=asyncio.FIRST_COMPLETED
    )
    turns.draining = True
    await drain(settings, queue, sweep, sweeping)
    await end(listening, sweeping)
    # Before the feed ends: redis-py may leave a word of its goodbye on the connection.
    await queue.forget()
    await end(beating, hearing, stopping)
    await schema.close()
    await turns.titles.stop()
    await servers.close()
    if schema.found:
        with suppress(RequestError):
            async with db.transaction(EVERYONE) as tx:
                await leave(tx, turns.worker_id)
    with suppress(*REDIS_ERRORS):
        await redis.aclose(close_connection_pool=True)
    await model.model.close()
    await db.close()
    await watch.close()
    log.info("worker_stopped")
    for task in ended - {stopping}:
        task.result()


async def heard(queue: RingWorker, turns: Turns) -> None:
    """Rings, from the first lease on: what is heard before is left to the sweep."""
    await turns.has_beaten.wait()
    await queue.async_run()


async def drain(
    settings: Settings, queue: RingWorker, sweep: Sweep, sweeping: asyncio.Task[None]
) -> None:
    """Takes nothing new, lets running turns end for a while, then hands them back."""
    queue.allow_pick_jobs = False
    await end(sweeping)
    running = {*queue.tasks.values(), *sweep.tasks}
    log.info("worker_draining", running=len(running))
    if not running:
        return
    _, late = await asyncio.wait(running, timeout=settings.parley_drain_seconds)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=SETTLE_SECONDS)


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


if __name__ == "__main__":
    main()
