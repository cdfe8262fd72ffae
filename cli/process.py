"""One child process: how it is started, found again and ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.data_dir import DataDir, write_private

PR_SET_PDEATHSIG = 1
LOG_KEPT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Account:
    """The OS user a program runs as, when that isn't ours."""

    uid: int
    gid: int


def nothing() -> None:
    """The default of `Program.prepare`."""


@dataclass(frozen=True)
class Program:
    """What to run and how to end it. `prepare` runs before every start, also a repeated one."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    prepare: Callable[[], None] = nothing


class Child:
    """A started program in a session of its own, with a log and a pid file."""

    def __init__(self, program: Program, data: DataDir) -> None:
        self.program = program
        self.log = data.log_file(program.name)
        self.pid_file = data.pid_file(program.name)
        self.started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.program.prepare()
        keep_log_small(self.log)
        with self.log.open("ab") as log:
            self._process = popen(self.program, log.fileno())
        self.started = time.monotonic()
        write_private(self.pid_file, f"{self.pid}\n")

    def returncode(self) -> int | None:
        """None while it runs. A negative number is the signal that ended it."""
        return self._process.poll() if self._process else 0

    def alive(self) -> bool:
        return self.returncode() is None

    def ask_to_stop(self) -> None:
        if self._process and self.alive():
            self._process.send_signal(self.program.stop_signal)
            self._process.send_signal(signal.SIGCONT)  # a paused one would never hear it

    def kill(self) -> None:
        """Ends it and whatever it left in its session's process group."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask, wait, then insist."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            if self._process:
                self._process.wait(self.program.stop_seconds)
        self.forget()

    def forget(self) -> None:
        """The end of it: no process, no pid file."""
        self.kill()
        self.pid_file.unlink(missing_ok=True)

    def last_lines(self, count: int = 15) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""


def popen(program: Program, output: int) -> subprocess.Popen[bytes]:
    account = program.account
    return subprocess.Popen(
        program.argv,
        env=program.env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=die_with_parent(program.stop_signal),  # noqa: PLW1509 - one libc call, no locks
    )


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Asks Linux to signal the child when we are killed ourselves; elsewhere the next `up` cleans.

    The kernel watches the starting thread, so this is only asked for in the main one.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def keep_log_small(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))


def read_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text())
    except (OSError, ValueError):
        return None


def find_by_pid_file(pid_file: Path, marker: str) -> psutil.Process | None:
    """The process this file names, if it is really the one that was started then.

    A pid alone proves nothing: numbers are reused. It must be as old as the file and show `marker`
    in its command line.
    """
    pid = read_pid(pid_file)
    if pid is None:
        return None
    try:
        found = psutil.Process(pid)
        same_age = abs(found.create_time() - pid_file.stat().st_mtime) < 10
        same_program = any(marker in part for part in found.cmdline())
        alive = found.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return None
    return found if same_age and same_program and alive else None


def end_leftover(pid_file: Path, marker: str, number: signal.Signals, seconds: float = 10) -> bool:
    """Ends what an earlier, killed `up` left behind. True if there was something."""
    found = find_by_pid_file(pid_file, marker)
    if found is not None:
        end_process(found, number, seconds)
    pid_file.unlink(missing_ok=True)
    return found is not None


def end_process(process: psutil.Process, number: signal.Signals, seconds: float) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
