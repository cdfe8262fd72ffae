"""What every test can ask for; the fixtures themselves are in `tests/fixtures/`."""

from __future__ import annotations

import gc

# What is loaded is no garbage, and to look for some among it takes a second of each process.
gc.disable()

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from cli import postgres
from shared.settings import Settings

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.settings",
    "tests.fixtures.people",
    "tests.fixtures.parts",
    "tests.fixtures.processes",
    "tests.fixtures.stand_in",
    "tests.fixtures.service",
    "tests.fixtures.fragile",
    "tests.fixtures.turns",
    "tests.fixtures.interruptions",
    "tests.fixtures.up",
    "tests.fixtures.http",
    "tests.fixtures.provider",
    "tests.fixtures.sessions",
    "tests.fixtures.elsewhere",
    "tests.fixtures.office",
    "tests.fixtures.terminal",
    "tests.fixtures.browser",
    "tests.fixtures.collector",
]

ROOT = Path(__file__).parent.parent
MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 * 1024**3

# What tests write is thrown away; a disk would only make them wait, and now and then for long.
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
    tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)

# Another Postgres than the embedded one, by the folder of its programs (`docs/services.md`).
if OTHER := os.environ.get("PARLEY_TEST_POSTGRES"):
    postgres.install_folder = lambda folder=Path(OTHER).parent: folder
    postgres.INITDB = ("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")

# Tests start what they need; nothing of the developer's own environment may reach them.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 50)
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
