"""What others see of a worker: /metrics for Prometheus, /health for whoever restarts it.

A thread answers, so that there is an answer while the worker is stuck: /health says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from shared.errors import SettingsError
from shared.metrics import CONTENT_TYPE, INFO, exposition
from shared.models import SCHEMA_REVISION
from shared.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

STUCK_AFTER_LEASES = 5
"""Whoever didn't come to try to renew its lease for so long is stuck."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line for each look."""


def watched(settings: Settings, beat_at: Callable[[], float]) -> Callable[[], None]:
    """Answers from now on, where the settings name a port, until what it returns is called.
    `beat_at` is when the worker last came to renew its lease, by the monotonic clock.

    Raises SettingsError where the port can't be had.
    """
    if not settings.parley_metrics_port:
        return lambda: None
    INFO.labels(version("parley"), SCHEMA_REVISION).set(1)
    patience = settings.parley_lease_seconds * STUCK_AFTER_LEASES

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                status, kind, body = "200 OK", f"{CONTENT_TYPE}; charset=utf-8", exposition()
            case "/health" if time.monotonic() - beat_at() < patience:
                status, kind, body = "200 OK", "application/json", b'{"status":"ok"}'
            case "/health":
                status, kind, body = "503 Stuck", "application/json", b'{"status":"stuck"}'
            case _:
                status, kind, body = "404 Not Found", "text/plain", b""
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    host, port = settings.parley_metrics_host, settings.parley_metrics_port
    try:
        server = make_server(host, port, answer, _Server, _Quiet)
    except OSError as error:
        raise SettingsError([f"PARLEY_METRICS_PORT: {host}:{port}: {error.strerror}"]) from None
    thread = threading.Thread(target=server.serve_forever, name="watched", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
