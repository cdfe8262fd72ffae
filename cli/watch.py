"""`parley status --watch`: the service at work, drawn anew until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.live import Live

from cli.data_dir import DataDir
from cli.doctor import address_in, make_quiet
from cli.doctor_api import address_of
from cli.doctor_settings import Source, Surroundings, surroundings
from cli.erase import connect
from cli.errors import CliError
from cli.watch_figures import Figures
from cli.watch_view import one_line, picture
from shared.redis import REDIS_ERRORS, end
from shared.settings import Settings

DRAWN_SECONDS, PRINTED_SECONDS = 0.5, 1.0
FIRST_SECONDS = 1.0
CLOSE_SECONDS = 1.0


def watch(data: DataDir, url: str, interval: float | None) -> None:
    """Returns when it was asked to stop. Raises CliError where there is nothing to look at."""
    make_quiet()
    around = surroundings(data)
    settings = needed(around, data)
    address = url or address_in(around, data)
    address_of(address)
    console = Console(highlight=False)
    usual = DRAWN_SECONDS if console.is_terminal else PRINTED_SECONDS
    try:
        asyncio.run(follow(settings, address, console, interval or usual))
    except BrokenPipeError:
        # Whoever read has had enough; Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def needed(around: Surroundings, data: DataDir) -> Settings:
    if around.settings is None:
        raise CliError("; ".join(around.problems))
    if around.source is Source.nothing:
        raise CliError(
            f"Nothing to watch: no `parley up` runs on {data.root}, and DATABASE_URL and REDIS_URL "
            "are not set"
        )
    return around.settings


async def follow(settings: Settings, url: str, console: Console, seconds: float) -> None:
    db, redis = connect(settings)
    figures = Figures(settings, db, redis, url)
    asking = [asyncio.create_task(source.run(seconds)) for source in figures.sources]
    stop, turn = asyncio.Event(), asyncio.Event()
    hear(stop, turn)
    try:
        await first_told(figures)
        with drawing(console, figures) as draw:
            while not stop.is_set():
                draw()
                turn.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await turn.wait()
    finally:
        await end(*asking)
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(CLOSE_SECONDS):
                await redis.aclose(close_connection_pool=True)
                await db.close()


def hear(stop: asyncio.Event, turn: asyncio.Event) -> None:
    """Ctrl-C and SIGTERM end it, so that the terminal is put back; a new size is drawn at once."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        stop.set()
        turn.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended)
    loop.add_signal_handler(signal.SIGWINCH, turn.set)


async def first_told(figures: Figures) -> None:
    """So that the first picture is no empty one, if that can be had soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_SECONDS):
            await asyncio.gather(*(source.told.wait() for source in figures.sources))


@contextmanager
def drawing(console: Console, figures: Figures) -> Generator[Callable[[], None]]:
    """On the terminal's other screen, so that what stood there is there again; or line by line."""
    if not console.is_terminal:
        yield lambda: print(one_line(figures), flush=True)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda: live.update(picture(figures, console.height), refresh=True)
