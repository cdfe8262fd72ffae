"""What the image's HEALTHCHECK says of a process."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import pytest

from cli import alive
from tests.fixtures.processes import Starter, free_port
from tests.fixtures.settings import lonely_settings

pytestmark = pytest.mark.anyio


async def test_a_process_lives_as_long_as_its_loop_answers(starter: Starter) -> None:
    """Without any store: what is away is no reason to end it."""
    api = await starter.api(lonely_settings(parley_port=free_port()))
    port = api.settings.parley_port
    assert await anyio.to_thread.run_sync(alive.answers, port)
    api.send(signal.SIGSTOP)
    assert not await anyio.to_thread.run_sync(alive.answers, port, 0.2)
    api.send(signal.SIGCONT)
    assert await anyio.to_thread.run_sync(alive.answers, port)


def test_it_asks_whichever_port_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stuck says so itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        served: int = server.getsockname()[1]
        monkeypatch.setenv("PARLEY_PORT", str(free_port()))
        monkeypatch.delenv("PARLEY_METRICS_PORT", raising=False)
        assert alive.main() == 1
        monkeypatch.setenv("PARLEY_METRICS_PORT", str(served))
        assert answered(server, b"HTTP/1.1 200 OK\r\n\r\n") == 0
        assert answered(server, b"HTTP/1.1 503 Stuck\r\n\r\n") == 1
        assert answered(server, b"not HTTP\r\n\r\n") == 1


def answered(server: socket.socket, text: bytes) -> int:
    """What it says of a process that answers so."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(alive.main)
        line, _ = server.accept()
        with line:
            line.sendall(text)
            return asked.result()
