"""Keeps child processes alive, in one thread.

The loop has no tasks and no threads: it sleeps in `select` until a signal arrives (a child ended,
somebody asked to stop) or something is due, then looks at every child. It ends when it is asked to
stop; `stop` has a deadline for every child.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from cli.errors import StartError
from cli.process import Child

# Seconds before a start is repeated: at once, then by how many short lives there were in a row.
BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
SHORT_LIFE_SECONDS = 5.0
TICK_SECONDS = 0.05
WATCH_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """Somebody asked to stop while we waited for something else."""


class Supervisor:
    """Children in start order. `tell` gets a sentence for each thing that happens to them."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._children: list[Child] = []
        self._short_lives: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._stop_requests = 0
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    @contextmanager
    def signals(self) -> Generator[None]:
        """Within it SIGINT, SIGTERM and SIGHUP ask us to stop and an ended child wakes us."""
        ours = [*STOP_SIGNALS, signal.SIGCHLD]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup: so it stays
            ours.append(signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in ours}
        wake_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in ours:
            signal.signal(number, self._count_stop_request)
        signal.signal(signal.SIGCHLD, ignore)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wake_before)
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, child: Child) -> Child:
        self._children.append(child)
        child.start()
        return child

    def wait(
        self, what: str, done: Callable[[], bool], seconds: float, tick: Callable[[], None]
    ) -> None:
        """Until `done()`. A child that ends meanwhile, or a deadline, is a failed start."""
        deadline = time.monotonic() + seconds
        while not done():
            self._fail_if_one_ended()
            if self._stop_requests:
                raise Stopped
            if time.monotonic() > deadline:
                raise StartError(f"{what} took longer than {seconds:.0f} s; see the logs")
            tick()
            self._sleep(TICK_SECONDS)

    def watch(self) -> None:
        """Starts again whatever ends, until somebody asks to stop."""
        while not self._stop_requests:
            now = time.monotonic()
            for child in self._children:
                self._look_after(child, now)
            due_in = min(self._due.values(), default=now + WATCH_SECONDS) - now
            self._sleep(max(0.0, min(due_in, WATCH_SECONDS)))

    def stop(self, order: Sequence[str]) -> None:
        """Ends the children by name prefix: those of one together, one prefix after the other."""
        self._stop_requests = min(self._stop_requests, 1)
        for prefix in (*order, ""):
            group = [child for child in self._children if child.name.startswith(prefix)]
            self._stop_group(group)
            self._children = [child for child in self._children if child not in group]

    def _stop_group(self, group: list[Child]) -> None:
        for child in group:
            child.ask_to_stop()
        began = time.monotonic()
        for child in group:
            deadline = began + child.program.stop_seconds
            while child.alive() and time.monotonic() < deadline and self._stop_requests < 2:
                self._sleep(TICK_SECONDS)
            if child.alive():
                self._tell(f"{child.name} did not end in time and was killed")
            child.forget()

    def _look_after(self, child: Child, now: float) -> None:
        if child.alive():
            return
        if child.name not in self._due:
            self._plan_restart(child, now)
        if self._due[child.name] <= now:
            del self._due[child.name]
            self._restart(child)

    def _plan_restart(self, child: Child, now: float) -> None:
        short = now - child.started < SHORT_LIFE_SECONDS
        before = self._short_lives.get(child.name, 0) if short else 0
        self._short_lives[child.name] = before + 1
        delay = BACKOFF[min(before, len(BACKOFF) - 1)]
        self._due[child.name] = now + delay
        later = f", next try in {delay:g} s" if delay else ""
        self._tell(f"{child.name} ended ({how(child.returncode())}){later}")

    def _restart(self, child: Child) -> None:
        child.kill()  # what it may have left in its group
        try:
            child.start()
        except (OSError, StartError) as error:
            self._tell(f"{child.name} could not be started: {error}")
            self._due[child.name] = time.monotonic() + BACKOFF[-1]
        else:
            self._tell(f"{child.name} started again (pid {child.pid})")

    def _fail_if_one_ended(self) -> None:
        for child in self._children:
            if not child.alive():
                raise StartError(
                    f"{child.name} ended ({how(child.returncode())}). Its last words:\n"
                    f"{child.last_lines()}\nThe whole log: {child.log}"
                )

    def _sleep(self, seconds: float) -> None:
        ready, _, _ = select.select([self._wake_read], [], [], seconds)
        if ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)

    def _count_stop_request(self, *_: object) -> None:
        self._stop_requests += 1


def ignore(*_: object) -> None:
    """A handler that does nothing, so that the signal still wakes `select`."""


def how(returncode: int | None) -> str:
    """An exit status in words."""
    if returncode is not None and returncode < 0:
        with suppress(ValueError):
            return signal.Signals(-returncode).name
    return f"exit {returncode}"
