"""One named process of the stack, over all its starts and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from cli.data_dir import DataDir
from cli.errors import StartError
from cli.process import Child, Program
from cli.supervisor import how
from cli.verify.conduct import Complaints, Conduct

START_SECONDS = 60.0
TICK_SECONDS = 0.02
LAST_LINES = 6

Ready = Callable[[Child], bool | Awaitable[bool]]


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(TICK_SECONDS)


@dataclass
class Life:
    """One start of a part, to its end. Times are those of the clock that log lines carry."""

    child: Child
    began: float
    ready: float | None = None
    asked: float | None = None
    """When it got a signal that asks it to end, or ends it."""
    number: signal.Signals | None = None
    """That signal. Without one, an end is its own doing."""
    ended: float | None = None
    frozen: list[list[float]] = field(default_factory=list[list[float]])
    """Pairs of stop and continue; the last may still be open."""

    @property
    def log(self) -> Path:
        return self.child.log


class Part:
    """Starts and ends a program under one name; every start has a log of its own."""

    def __init__(
        self,
        program: Program,
        data: DataDir,
        *,
        ready: Ready,
        complaints: Complaints,
    ) -> None:
        self.name = program.name
        self.lives: list[Life] = []
        self.lock = asyncio.Lock()
        """Held by whoever does something to it that takes time."""
        self._program = program
        self._data = data
        self._ready = ready
        self._complaints = complaints

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def running(self) -> bool:
        return bool(self.lives) and self.life.child.alive()

    @property
    def well(self) -> bool:
        """Ready and awake, and nobody has asked it to end."""
        if not self.running or self.life.ready is None or self.life.number:
            return False
        return all(len(pair) > 1 for pair in self.life.frozen)

    def begin(self) -> Life:
        """Starts it and does not wait."""
        named = replace(self._program, name=f"{self.name}.{len(self.lives) + 1}")
        child = Child(named, self._data)
        self.lives.append(Life(child, time.time()))
        child.start()
        return self.life

    async def start(self) -> None:
        """Starts it; returns when it is ready, or will never be."""
        life = self.begin()
        await self.wait_ready(life)

    async def wait_ready(self, life: Life) -> None:
        async def settled() -> bool:
            if not life.child.alive():
                return True
            found = self._ready(life.child)
            return found if isinstance(found, bool) else await found

        in_time = await until(settled, seconds=START_SECONDS)
        if in_time and life.child.alive():
            life.ready = time.time()
        if not self._complaints.check(Conduct.ready, in_time):
            self._complain(Conduct.ready, f"was not ready within {START_SECONDS:g} s")

    def require(self) -> None:
        """Raises StartError if the last start came to nothing."""
        if not self.running or self.life.ready is None:
            raise StartError(f"{self.name} did not start{self._words()}")

    async def kill(self) -> None:
        self._mark(signal.SIGKILL)
        self.life.child.kill()
        self._close()

    async def end(self, number: signal.Signals, seconds: float) -> int | None:
        """Sends the signal and waits. Its exit code, or None if it had to be killed."""
        child = self.life.child
        self._mark(number)
        self.send(number)
        in_time = await until(lambda: not child.alive(), seconds=seconds)
        code = child.returncode() if in_time else None
        child.kill()
        self._close()
        return code

    async def stop(self) -> None:
        """The orderly end, which must be one."""
        if not self.running:
            return
        self.resume()
        seconds = self._program.stop_seconds
        code = await self.end(self._program.stop_signal, seconds)
        outcome = f"did not end within {seconds:g} s" if code is None else f"ended: {how(code)}"
        if not self._complaints.check(Conduct.ends, code == 0):
            self._complain(Conduct.ends, f"was asked to stop and {outcome}")

    def may_end(self) -> None:
        """It will kill itself, as it was told to."""
        self._mark(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)
        self.life.frozen.append([time.time()])

    def resume(self) -> None:
        """SIGCONT, if it was paused."""
        if self.life.frozen and len(self.life.frozen[-1]) == 1:
            self.send(signal.SIGCONT)
            self.life.frozen[-1].append(time.time())

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.life.child.pid, number)

    @property
    def stopped(self) -> bool:
        """Whether it stands still, by a SIGSTOP of whomever."""
        with suppress(psutil.Error):
            return psutil.Process(self.life.child.pid).status() == psutil.STATUS_STOPPED
        return False

    def ended_by_itself(self) -> bool:
        """Noted once for each end that nobody asked for."""
        if not self.lives or self.running or self.life.ended is not None or self.life.number:
            return False
        self._complaints.check(Conduct.lives, False)
        self._complain(Conduct.lives, f"ended by itself: {how(self.life.child.returncode())}")
        self._close()
        return True

    def _mark(self, number: signal.Signals) -> None:
        self.ended_by_itself()
        self.life.asked, self.life.number = time.time(), number

    def _close(self) -> None:
        if self.life.number:
            self._complaints.check(Conduct.lives, True)
        self.life.ended = self.life.ended or time.time()
        self.life.child.forget()

    def _complain(self, conduct: Conduct, sentence: str) -> None:
        self._complaints.add(conduct, f"{self.life.child.name} {sentence}{self._words()}")

    def _words(self) -> str:
        said = self.life.child.last_lines(LAST_LINES)
        return f"\n{said}" if said else ""
