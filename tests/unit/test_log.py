"""What the libraries do behind our backs ends in a line, not in a traceback."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.log import on_stray_error

pytestmark = pytest.mark.anyio

SECRET = "words that nobody may read"


async def test_a_connection_lost_in_a_task_nobody_waits_for_is_one_line() -> None:
    loop = asyncio.get_running_loop()
    with capture_logs() as lines:
        on_stray_error(loop, {"message": "never retrieved", "exception": BrokenPipeError()})
    assert lines == [
        {"event": "connection_lost", "error": "BrokenPipeError", "log_level": "warning"}
    ]


async def test_anything_else_is_told_by_its_kind_and_its_place() -> None:
    loop = asyncio.get_running_loop()
    with capture_logs() as lines:
        try:
            int(SECRET)
        except ValueError as error:
            on_stray_error(loop, {"message": SECRET, "exception": error})
    (line,) = lines
    assert (line["event"], line["error"]) == ("stray_error", "ValueError")
    assert line["at"].startswith("tests/unit/test_log.py:")
    assert SECRET not in str(line)
