"""What the libraries do behind our backs ends in a line, not in a traceback."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.log import on_stray_error

pytestmark = pytest.mark.anyio


async def test_a_connection_lost_in_a_task_nobody_waits_for_is_one_line() -> None:
    loop = asyncio.get_running_loop()
    with capture_logs() as lines:
        on_stray_error(loop, {"message": "never retrieved", "exception": BrokenPipeError()})
    assert lines == [
        {"event": "connection_lost", "error": "BrokenPipeError", "log_level": "warning"}
    ]


async def test_anything_else_is_told_in_full(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    on_stray_error(loop, {"message": "never retrieved", "exception": ZeroDivisionError()})
    assert "never retrieved" in caplog.text
