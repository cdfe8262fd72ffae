"""Postgres and Valkey as plain calls, for tests; `parley up` supervises the same programs.

with start_postgres(tmp_path, extra=("-c", "fsync=off")) as postgres:
    connect(postgres.url)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.data_dir import DataDir
from cli.errors import StartError
from cli.postgres import Postgres
from cli.process import Child, end_leftover
from cli.valkey import MARKER, Valkey

START_SECONDS = 30.0
TICK_SECONDS = 0.01


class Service:
    """A running server. Leaving the `with` block stops it; its data stays."""

    def __init__(self, url: str, child: Child) -> None:
        self.url = url
        self.child = child

    @property
    def pid(self) -> int:
        return self.child.pid

    def stop(self) -> None:
        """Orderly; safe to call again."""
        self.child.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_postgres(data_dir: Path, *, extra: Sequence[str] = ()) -> Service:
    """Postgres 18 of `data_dir`, created on first use, with an empty database `parley`."""
    data = DataDir(data_dir).create()
    postgres = Postgres(data, extra)
    child = Child(postgres.program(), data)
    start(child, postgres.ready)
    return Service(postgres.url, child)


def start_valkey(data_dir: Path, *, extra: Sequence[str] = ()) -> Service:
    """Valkey 9 of `data_dir`, empty at every start."""
    data = DataDir(data_dir).create()
    valkey = Valkey(data, extra)
    child = Child(valkey.program(), data)
    end_leftover(child.pid_file, MARKER, child.program.stop_signal)
    start(child, valkey.ready)
    return Service(valkey.url, child)


def start(child: Child, ready: Callable[[Child], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    child.start()
    while not ready(child):
        if not child.alive() or time.monotonic() > deadline:
            child.forget()
            raise StartError(f"{child.name} did not start:\n{child.last_lines()}")
        time.sleep(TICK_SECONDS)
