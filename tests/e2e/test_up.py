"""`parley up` as a user has it: one command, everything running, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from cli.data_dir import DataDir
from tests.fixtures.up import NAMES, READY_SECONDS, Done, StartUp, Up, parley
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


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


async def test_the_page_is_there_and_opens_signed_in(running: Up) -> None:
    url = await running.ready()
    assert f"{url} (signed in as developer)" in running.errors.read_text()
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}) as browser:
        assert "Parley" in (await browser.get("/")).text
        assert (await browser.get("/api/session")).status_code == 401
        opened = await browser.post("/api/session/launcher")
        assert (opened.status_code, opened.json()["user_id"]) == (201, "developer")
        assert (await browser.post("/api/chat/conversations", json={})).status_code == 201


async def test_the_doctor_finds_it_well(running: Up) -> None:
    """By the settings that its processes were started with: nothing is set here."""
    await running.ready()

    found: dict[str, dict[str, str]] = {}

    def ask() -> bool:
        """Another test may have killed something a moment ago."""
        done = parley(
            *("doctor", "--json", "--model-seconds", "50"),
            *("--data-dir", str(running.data.root)),
        )
        report = json.loads(done.stdout)
        assert report["ok"] == (done.returncode == 0)
        found.update({check["check"]: check for check in report["checks"]})
        return done.returncode == 0

    await until(lambda: asyncio.to_thread(ask), seconds=90)
    assert found["settings"]["said"] == "valid, those of the running `parley up`"
    assert found["processes"]["said"].endswith("redis, postgres are up")
    assert found["api"]["said"] == "ready"
    assert found["row security"]["said"] == "holds for parley_service"
    assert found["model"]["said"].startswith("stand-in at 127.0.0.1:")
    assert not [one for one in found.values() if one["state"] == "not checked"]


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
