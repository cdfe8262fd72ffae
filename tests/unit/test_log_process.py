"""A process's whole output: one JSON object a line, and no words of anybody's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.fixtures.processes import ROOT
from tests.fixtures.settings import environment, make_settings

WORDS = "nobody may read these words"
PROGRAM = """
import asyncio, gc, logging, sys, warnings
import structlog
from shared.log import configure_logging, on_stray_error
from shared.settings import load_settings

WORDS = sys.argv[1]
configure_logging(load_settings(), process="test")
ours, theirs = structlog.get_logger(), logging.getLogger("arq.worker")

def fail():
    try:
        raise KeyError(WORDS)
    except KeyError as error:
        raise ValueError(WORDS) from error

async def stray():
    asyncio.get_running_loop().set_exception_handler(on_stray_error)
    task = asyncio.create_task(asyncio.to_thread(fail))
    await asyncio.wait([task])
    del task
    gc.collect()

theirs.warning("job failed: " + WORDS)
theirs.warning("job failed: %s", WORDS)
logging.getLogger("uvicorn.error").error("address in use\\n" + WORDS)
try:
    fail()
except ValueError:
    theirs.exception(WORDS)
    ours.error("ours", exc_info=True)
warnings.warn(WORDS)
asyncio.run(stray())
fail()
"""


def test_whatever_happens_is_one_line_that_says_what_and_where() -> None:
    settings = make_settings("postgresql://x/x", "redis://x")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, WORDS],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert WORDS not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        *("library_log", "library_log", "address in use", "library_log", "ours"),
        *("library_warning", "stray_error", "process_crashed"),
    ]
    assert all(line["process"] == "test" for line in lines[:-2])
    assert lines[0]["logger"] == "arq.worker"
    for line in (lines[3], lines[4], lines[6], lines[7]):
        assert (line["error"], line["cause"]) == ("ValueError", "KeyError")
        assert line["at"].startswith("<string>:")
