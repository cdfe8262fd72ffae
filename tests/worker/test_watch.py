"""`parley status --watch` in a terminal, while Postgres and Redis come and go."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from typer.testing import CliRunner

from cli.embedded import Service, start_valkey
from cli.main import app
from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.ids import new_id
from shared.jobs import Jobs
from shared.redis import connect_redis
from shared.settings import Settings
from shared.store.workers import renew_lease
from tests.fixtures.processes import free_port
from tests.fixtures.servers import with_database
from tests.fixtures.settings import environment, make_settings
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

COMMAND = (sys.executable, "-m", "cli.main", "status", "--watch", "--interval", "0.1")
OTHER_SCREEN, FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_SHOWN = b"\x1b[?25h"
HOME = b"\x1b[H"
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = b"\x03"
START_SECONDS = 30.0
ENDED = """
UPDATE turns SET status = 'completed', position = NULL, crashes = 1, finished_at = clock_timestamp()
"""


class Terminal:
    """A program on a terminal of its own, and what it has drawn there."""

    def __init__(self, env: dict[str, str], columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            COMMAND,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - one call before the other program
        )
        os.close(theirs)
        self.written = b""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    @property
    def pictures(self) -> list[str]:
        """Those that were drawn to the end."""
        whole = self.written.split(HOME)[1:-1]
        return [CODES.sub(b"", picture).replace(b"\r", b"").decode() for picture in whole]

    def shows(self, *texts: str) -> bool:
        assert self.process.poll() is None, self.written.decode()
        return bool(self.pictures) and all(text in self.pictures[-1] for text in texts)

    async def shown(self, *texts: str) -> None:
        await until(lambda: self.shows(*texts), seconds=START_SECONDS)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join()
        os.close(self._ours)

    def _read(self) -> None:
        # On Linux a terminal whose other end is closed gives an error in place of an end.
        with suppress(OSError):
            while read := os.read(self._ours, 65536):
                self.written += read


def take_terminal() -> None:
    """So that Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def own_redis(tmp_path: Path) -> Generator[Service]:
    with start_valkey(tmp_path / "vk") as service:
        yield service


@pytest.fixture
def watched(database_url: str, own_redis: Service) -> Settings:
    return make_settings(database_url, own_redis.url, parley_port=free_port())


@pytest.fixture
async def desk(watched: Settings) -> AsyncGenerator[Desk]:
    db, redis = Database(watched), connect_redis(watched)
    yield Desk(db, Feed(redis), Jobs(redis), watched)
    await redis.aclose(close_connection_pool=True)
    await db.close()


@pytest.fixture
def terminal(watched: Settings) -> Generator[Terminal]:
    # Whoever runs the tests may have said how wide their own terminal is.
    mine = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    found = Terminal(mine | {"TERM": "xterm-256color"} | environment(watched))
    yield found
    found.end()


async def run(settings: Settings, *statements: str, database: str = "") -> None:
    url = settings.database_url.get_secret_value()
    connection = await asyncpg.connect(with_database(url, database) if database else url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def allow_connections(settings: Settings, allowed: bool) -> None:
    """To the database of the test; those that are there end."""
    name = urlsplit(settings.database_url.get_secret_value()).path.removeprefix("/")
    await run(
        settings,
        f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}',
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        database="postgres",
    )


async def test_the_watch_follows_what_happens_and_ends_cleanly(
    terminal: Terminal, watched: Settings, desk: Desk, own_redis: Service, tmp_path: Path
) -> None:
    await terminal.shown("0 rings, 0 turns waiting", "0 completed", "none", "doesn't answer")
    worker_id = new_id()
    turn = await desk.say(await desk.conversation(), "Hello")
    await desk.jobs.ring(turn.conversation_id)
    await terminal.shown("1 ring, 1 turn waiting", "1 queued, 0 running")
    async with desk.db.transaction(EVERYONE) as tx:
        await renew_lease(tx, worker_id, lease=timedelta(seconds=60))
    await terminal.shown(str(worker_id)[-8:], "s left")
    await run(watched, ENDED)
    await terminal.shown("0 queued", "1 completed, 0 failed, 0 cancelled, 1 taken over", "0.02")
    own_redis.kill()
    await terminal.shown("Redis is away (ConnectionRefusedError)", "1 completed")
    await allow_connections(watched, False)
    await terminal.shown("Postgres is away", "Redis is away")
    await allow_connections(watched, True)
    with start_valkey(tmp_path / "vk"):
        await terminal.shown("0 rings", "1 completed")
    terminal.resize(60)
    await until(lambda: all(len(line) <= 60 for line in terminal.pictures[-1].splitlines()))
    assert all(len(line) <= 80 for line in "\n".join(terminal.pictures).splitlines())
    terminal.press(CTRL_C)
    await until(lambda: terminal.process.poll() is not None)
    assert terminal.process.returncode == 0
    assert terminal.written.count(OTHER_SCREEN) == 1
    await until(lambda: terminal.written.count(FIRST_SCREEN) == 1)
    assert CURSOR_SHOWN in terminal.written[terminal.written.rindex(HOME) :]
    assert b"Traceback" not in terminal.written


async def test_into_a_file_it_writes_a_line_a_time(watched: Settings) -> None:
    """Until it is interrupted."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, env=os.environ | environment(watched), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    known = "ready=- rings=0 queued=0 running=0 awaiting_approval=0 workers=0 oldest_seconds=0.0"
    lines: list[str] = []
    async with asyncio.timeout(START_SECONDS):
        # The first ones may come before everybody has answered.
        while len(lines) < 3 or known not in lines[-3]:
            lines.append((await process.stdout.readline()).decode())
            assert lines[-1], "it ended"
        process.send_signal(signal.SIGINT)
        await process.stdout.read()
        assert await process.wait() == 0
    told = [line.partition("Z ")[2].partition(" completed")[0] for line in lines[-3:]]
    assert told == [known] * 3


def test_where_there_is_nothing_to_watch_it_says_so(tmp_path: Path) -> None:
    env = {"DATABASE_URL": "", "REDIS_URL": ""}
    before = structlog.get_config()
    done = CliRunner(env=env).invoke(app, ["status", "--watch", "--data-dir", str(tmp_path)])
    structlog.configure(**before)
    assert done.exit_code == 1
    assert "Nothing to watch: no `parley up` runs" in done.stderr
