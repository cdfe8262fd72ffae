"""`parley up` as a user has it: one command, everything running, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from cli.data_dir import DataDir
from cli.process import read_pid
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

NAMES = ("postgres", "redis", "api", "worker-1", "worker-2")
COMMAND = (sys.executable, "-m", "cli.main")
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


Done = subprocess.CompletedProcess[str]
StartUp = Callable[[], Awaitable["Up"]]


def parley(*arguments: str, **environment: str) -> Done:
    """Another command, from start to end."""
    return subprocess.run(
        (*COMMAND, *arguments),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Up:
    """A running `parley up` and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.data = DataDir(folder / "data")
        self.output = folder / "stdout"
        self.errors = folder / "stderr"
        environment = os.environ | {"PARLEY_MODEL": "echo"}
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                (*COMMAND, "up", "--port", "0", "--data-dir", str(self.data.root)),
                env=environment,
                stdout=output,
                stderr=errors,
            )

    async def ready(self) -> str:
        """The address from the `ready` line."""
        await until(self._ready_or_ended, seconds=READY_SECONDS)
        assert self.process.poll() is None, self.errors.read_text()
        word, url = self.output.read_text().split()
        assert word == "ready"
        return url

    def _ready_or_ended(self) -> bool:
        return self.output.read_text().endswith("\n") or self.process.poll() is not None

    def pids(self) -> dict[str, int]:
        return {name: self.pid(name) for name in NAMES}

    def pid(self, name: str) -> int:
        found = read_pid(self.data.pid_file(name))
        assert found is not None, f"no pid file of {name}"
        return found

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, seconds=STOP_SECONDS)
        return self.process.returncode

    def say(self, *arguments: str) -> Done:
        return parley("chat", *arguments, "--data-dir", str(self.data.root))


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One for all tests that don't end it."""
    started = Up(tmp_path_factory.mktemp("up"))
    await started.ready()
    yield started
    await started.stop()


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[StartUp]:
    """`up()` starts one on the directory of this test; the last is stopped at the end."""
    started: list[Up] = []

    async def start() -> Up:
        started.append(Up(tmp_path))
        await started[-1].ready()
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            await one.stop()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


def expect_echo(done: Done, text: str) -> None:
    assert done.returncode == 0, done.stderr
    assert text in done.stdout


async def test_everything_runs_and_answers(running: Up) -> None:
    assert all(alive(pid) for pid in running.pids().values())
    assert await answers(f"{await running.ready()}/health/ready")
    expect_echo(running.say("hello there"), "hello there")


@pytest.mark.parametrize("name", NAMES)
async def test_whatever_is_killed_comes_back_and_chats_go_on(running: Up, name: str) -> None:
    url = await running.ready()
    before = running.pid(name)
    os.kill(before, signal.SIGKILL)
    await until(lambda: running.pid(name) != before, seconds=2)
    await until(lambda: answers(f"{url}/health"), seconds=READY_SECONDS)
    expect_echo(running.say("hello again"), "hello again")


async def test_a_second_up_on_the_same_directory_is_refused(running: Up) -> None:
    done = parley("up", "--port", "0", "--data-dir", str(running.data.root))
    assert done.returncode == 1
    assert "already running" in done.stderr


async def test_stopping_leaves_only_the_data_and_the_next_up_finds_it(up: StartUp) -> None:
    first = await up()
    conversation = first.say("remember me").stderr.split()[-1]
    everything = [first.process.pid, *first.pids().values()]
    everything += [found.pid for found in psutil.Process(everything[0]).children(recursive=True)]
    assert await first.stop() == 0
    assert not any(alive(pid) for pid in everything)
    assert list(first.data.run.glob("*.pid")) == []

    second = await up()
    done = second.say("and now?", "--conversation", conversation)
    expect_echo(done, "and now?")
    assert conversation in done.stderr


async def test_after_a_killed_up_the_next_one_starts_clean(up: StartUp) -> None:
    first = await up()
    before = first.pids()
    first.process.kill()
    await first.ended()

    second = await up()
    assert not any(alive(pid) for pid in before.values())
    expect_echo(second.say("hello"), "hello")


async def test_a_failed_start_is_told_and_cleaned_up(tmp_path: Path) -> None:
    """The database of the environment can't be reached: Redis must not stay behind."""
    data = DataDir(tmp_path / "data")
    unreachable = "postgresql://nobody@127.0.0.1:1/none"
    done = parley(
        *("up", "--port", "0", "--data-dir", str(data.root)),
        PARLEY_MODEL="echo",
        DATABASE_URL=unreachable,
    )
    assert done.returncode == 1
    assert "The database could not be prepared" in done.stderr
    assert list(data.run.glob("*.pid")) == []
