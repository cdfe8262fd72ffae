"""`parley verify` itself: a small storm, and what it says when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cli.process import read_pid
from tests.fixtures.servers import folder
from tests.fixtures.up import COMMAND
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

VERIFY_SECONDS = 240.0


@contextmanager
def verify(data_dir: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Left early, it is stopped, and stops what it started."""
    process = subprocess.Popen(
        (*COMMAND, "verify", "--no-steps", "--data-dir", str(data_dir), *arguments),
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=VERIFY_SECONDS)


def times(report: str, fault: str) -> int:
    found = re.search(rf"^\| {fault} \| (\d+) \|", report, re.MULTILINE)
    return int(found[1]) if found else 0


def test_a_storm_violates_nothing_and_leaves_nothing() -> None:
    with folder() as data:
        written = data / "report.md"
        arguments = ["--turns", "20", "--seed", "3", "--apis", "1", "--workers", "2", "--report"]
        with verify(data, *arguments, str(written)) as process:
            report, _ = process.communicate(timeout=VERIFY_SECONDS)
        assert process.returncode == 0, report
        assert report.startswith("# parley verify: 0 violations\n")
        assert report == written.read_text()
        assert times(report, "worker_killed") > 0
        assert list(data.iterdir()) == [written]


async def test_a_violation_is_told_and_is_the_exit_code() -> None:
    """A Redis that ends without being asked to: we kill it behind its back."""
    with folder() as data:
        arguments = ("--turns", "2", "--apis", "1", "--workers", "1")
        with verify(data, *arguments) as process:
            (api,) = await until(lambda: list(data.glob("*/storm/run/api-1.1.pid")), seconds=60)
            redis = read_pid(api.with_name("redis.1.pid"))
            assert redis is not None
            os.kill(redis, signal.SIGKILL)
            report, _ = process.communicate(timeout=VERIFY_SECONDS)
        assert process.returncode == 1
        assert "redis.1 ended by itself: SIGKILL" in report
        kept = api.parent.parent.parent
        assert str(kept) in report
        assert (kept / "storm" / "logs" / "worker-1.1.log").exists()


async def test_stopped_early_it_stops_what_it_started() -> None:
    with folder() as data:
        with verify(data, "--apis", "1", "--workers", "1") as process:
            (api,) = await until(lambda: list(data.glob("*/storm/run/api-1.1.pid")), seconds=60)
            pids = [read_pid(file) for file in api.parent.glob("*.pid")]
            process.send_signal(signal.SIGTERM)
            await until(lambda: process.poll() is not None, seconds=60)
        assert process.returncode == 1
        assert pids
        assert not [pid for pid in pids if pid and psutil.pid_exists(pid)]
