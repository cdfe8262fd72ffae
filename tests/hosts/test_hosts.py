"""A part of `make hosts` for every run of the tests. Like it, it needs Linux and root."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.fixtures.processes import ROOT
from tests.hosts.namespace import why_not

COMMAND = (sys.executable, "-m", "tests.hosts", "worker", "--workers", "2", "--apis", "1")
QUICKLY = ("--set", "PARLEY_LEASE_SECONDS=2", "--set", "PARLEY_SWEEP_SECONDS=0.3", "--slack", "30")
SECONDS = 90


def test_a_worker_cut_off_from_everything_costs_nothing_but_time() -> None:
    assert not why_not(), why_not()
    done = subprocess.run(
        [*COMMAND, *QUICKLY], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations" in done.stdout


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """The router and a part of the service run by then."""
    assert not why_not(), why_not()
    command = [*COMMAND, "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "starts" in running.stderr.readline()
        started = wait_for_children(running.pid, 3)
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 130
    _, left = psutil.wait_procs(started, timeout=5)
    assert not left


def wait_for_children(pid: int, how_many: int) -> list[psutil.Process]:
    deadline = time.monotonic() + SECONDS
    while len(found := psutil.Process(pid).children(recursive=True)) < how_many:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
