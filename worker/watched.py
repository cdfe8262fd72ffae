"""What others see of a worker: /metrics for Prometheus, /health for whoever restarts it.

A thread answers, so that there is an answer while the worker is stuck: /health says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from shared import VERSION
from shared.errors import SettingsError
from shared.metrics import CONTENT_TYPE, INFO, exposition
from shared.models import SCHEMA_REVISION
from shared.redis import end
from shared.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

BEAT_SECONDS = 1.0
STUCK_SECONDS = 30.0
"""A worker that came to nothing else for so long is stuck. It has lost its turns long before."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line for each look."""


class Watched:
    """Answers from now on, where the settings name a port. Close it.

    Raises SettingsError where the port can't be had.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        beat_seconds: float = BEAT_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._beat_at = time.monotonic()
        self._beat_seconds = beat_seconds
        self._stuck_seconds = stuck_seconds
        self._server: WSGIServer | None = None
        host, port = settings.parley_metrics_host, settings.parley_metrics_port
        if not port:
            return
        try:
            self._server = make_server(host, port, self._answer, _Server, _Quiet)
        except OSError as error:
            raise SettingsError([f"PARLEY_METRICS_PORT: {host}:{port}: {error.strerror}"]) from None
        INFO.labels(VERSION, SCHEMA_REVISION).set(1)
        self._beating = asyncio.create_task(self._beat())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    async def close(self) -> None:
        if self._server is None:
            return
        await end(self._beating)
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        self._thread.join()

    async def _beat(self) -> None:
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(self._beat_seconds)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        stuck = time.monotonic() - self._beat_at >= self._stuck_seconds
        match environ["PATH_INFO"]:
            case "/metrics":
                status, kind, body = "200 OK", f"{CONTENT_TYPE}; charset=utf-8", exposition()
            case "/health" if stuck:
                status, kind, body = "503 Stuck", "application/json", b'{"status":"stuck"}'
            case "/health":
                status, kind, body = "200 OK", "application/json", b'{"status":"ok"}'
            case _:
                status, kind, body = "404 Not Found", "text/plain", b""
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]
