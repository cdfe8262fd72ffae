"""Whose CPU it was: by process tree, and what others took of the machine meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil


def cpu_seconds(pid: int) -> float:
    """Of a process and all it started, also what has ended since and was waited for."""
    seconds = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def machine_seconds() -> float:
    """That the machine's cores were busy, since it started; time stolen from them included."""
    times = psutil.cpu_times()
    busy: float = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return busy


@dataclass
class Meter:
    """`pids` names each part's root process. Use it as a context around what is measured."""

    pids: Mapping[str, int]
    spent: dict[str, float] = field(default_factory=dict[str, float])
    """CPU seconds of each part."""
    seconds: float = 0.0
    own: float = 0.0
    """CPU seconds of this process."""
    foreign: float = 0.0
    """The share of the machine's CPU that neither the parts nor this process took."""

    def __enter__(self) -> Meter:
        self._began = time.monotonic()
        self._machine = machine_seconds()
        self._own_before = own_seconds()
        self._before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        after = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        self.spent = {name: after[name] - self._before[name] for name in self.pids}
        self.own = own_seconds() - self._own_before
        known = sum(self.spent.values()) + self.own
        others = machine_seconds() - self._machine - known
        self.foreign = max(0.0, others / self.seconds / (os.cpu_count() or 1))


def own_seconds() -> float:
    """Of this process alone."""
    times = psutil.Process().cpu_times()
    return times.user + times.system
