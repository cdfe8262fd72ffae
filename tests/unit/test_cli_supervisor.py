"""Real, tiny processes: started again when they end, ended when we end, never mistaken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from cli.data_dir import SOCKET_PATH_MAX, DataDir
from cli.errors import StartError
from cli.process import Child, Program, end_leftover, find_by_pid_file, read_pid
from cli.supervisor import Supervisor

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)  # sleeper")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(600)",
)


def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    """How long it took; fails at the deadline."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path).create()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(told: list[str]) -> Generator[Supervisor]:
    made = Supervisor(told.append)
    yield made
    made.stop(())


def watch_while(supervisor: Supervisor, act: Callable[[], None]) -> None:
    """The loop belongs to the main thread, so that what a test does runs beside it."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with supervisor.signals():
        beside = threading.Thread(target=run)
        beside.start()
        supervisor.watch()
        beside.join()
    if failures:
        raise failures[0]


def test_a_killed_child_is_back_at_once_with_a_new_pid_in_its_file(
    supervisor: Supervisor, data: DataDir, told: list[str]
) -> None:
    child = supervisor.start(Child(Program("worker-1", SLEEP), data))
    first = child.pid

    def kill_it() -> None:
        os.kill(first, signal.SIGKILL)
        took = until(lambda: read_pid(child.pid_file) not in {first, None})
        assert took < 0.3

    watch_while(supervisor, kill_it)
    assert child.alive()
    assert child.pid == read_pid(child.pid_file) != first
    assert told[0] == "worker-1 ended (SIGKILL)"


def test_a_child_that_keeps_ending_is_started_ever_more_slowly(
    supervisor: Supervisor, data: DataDir, told: list[str]
) -> None:
    broken = Program("api", (sys.executable, "-c", "raise SystemExit(3)"))
    supervisor.start(Child(broken, data))

    def wait_for_the_third_end() -> None:
        until(lambda: "next try in 0.5 s" in " ".join(told))

    watch_while(supervisor, wait_for_the_third_end)
    ends = [line for line in told if "ended" in line]
    assert ends[:3] == [
        "api ended (exit 3)",
        "api ended (exit 3), next try in 0.2 s",
        "api ended (exit 3), next try in 0.5 s",
    ]


def test_a_child_that_ends_while_starting_is_told_with_its_last_words(
    supervisor: Supervisor, data: DataDir
) -> None:
    program = Program("api", (sys.executable, "-c", "raise SystemExit('no such setting')"))
    supervisor.start(Child(program, data))
    with pytest.raises(StartError, match="no such setting"):
        supervisor.wait("The service", lambda: False, 10, lambda: None)


def test_stopping_ends_every_child_and_takes_its_pid_file(
    supervisor: Supervisor, data: DataDir
) -> None:
    children = [supervisor.start(Child(Program(name, SLEEP), data)) for name in ("api", "redis")]
    pids = [child.pid for child in children]
    supervisor.stop(("api",))
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert list(data.run.glob("*.pid")) == []


def test_a_child_that_does_not_listen_is_killed_after_its_deadline(
    supervisor: Supervisor, data: DataDir, told: list[str]
) -> None:
    child = supervisor.start(Child(Program("api", STUBBORN, stop_seconds=0.1), data))
    until(lambda: "deaf" in child.last_lines())
    supervisor.stop(("api",))
    assert not child.alive()
    assert told == ["api did not end in time and was killed"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start cleans up")
def test_children_do_not_outlive_a_killed_supervisor(data: DataDir) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cli.data_dir import DataDir\n"
        "from cli.process import Child, Program\n"
        "Child(Program('api', ('sleep', '600')), DataDir(Path(sys.argv[1]))).start()\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(data.root)]) as parent:
        until(lambda: read_pid(data.pid_file("api")) is not None)
        orphan = psutil.Process(read_pid(data.pid_file("api")))
        parent.kill()
    until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)


def test_a_leftover_is_found_by_its_pid_file_and_ended(data: DataDir) -> None:
    child = Child(Program("worker-1", SLEEP), data)
    child.start()
    assert end_leftover(child.pid_file, "sleeper", signal.SIGTERM)
    assert not child.alive()
    assert not child.pid_file.exists()


def test_somebody_elses_process_with_that_pid_is_left_alone(data: DataDir) -> None:
    child = Child(Program("worker-1", SLEEP), data)
    child.start()
    try:
        assert find_by_pid_file(child.pid_file, "worker.main") is None
        os.utime(child.pid_file, (1_000_000_000, 1_000_000_000))  # a pid reused long after
        assert find_by_pid_file(child.pid_file, "sleeper") is None
        assert not end_leftover(child.pid_file, "sleeper", signal.SIGTERM)
        assert child.alive()
    finally:
        child.stop()


def test_a_socket_folder_is_short_enough_and_private(data: DataDir) -> None:
    deep = data.root / ("x" * 120)
    found = data.socket_folder(deep, "redis.sock", os.geteuid())
    try:
        assert len(os.fsencode(found / "redis.sock")) <= SOCKET_PATH_MAX
        assert found.stat().st_mode & 0o777 == 0o700
        assert data.socket_folder(deep, "redis.sock", os.geteuid()) == found
    finally:
        found.rmdir()
