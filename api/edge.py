"""The outermost layer: every request has an id, a log line, and an answer with safe headers."""

from __future__ import annotations

import re
import time
from copy import copy
from uuid import uuid4

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import json
from structlog.contextvars import bound_contextvars, unbind_contextvars

from api.browsers import Browsers
from api.errors import INTERNAL, PROBLEM_JSON
from api.limits import asks_for_health
from api.traces import answered, request_span, until_streamed
from shared.log import told
from shared.metrics import METHODS, REQUEST_SECONDS

log = structlog.get_logger()

NO_CONTENT = 204
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class Edge:
    """Wraps the whole application, so that what the framework answers by itself passes here too."""

    def __init__(self, app: ASGIApp, browsers: Browsers) -> None:
        self._app = app
        self._browsers = browsers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        with bound_contextvars(request_id=request_id), request_span(scope) as span:
            answer = Answer(send, scope, request_id, self._browsers)
            method = answer.method
            if method == "HEAD":
                # What GET would say, without its body; no handler has to think of it. A copy: the
                # server looks at its own to see whether a body may follow.
                scope = copy(scope)
                scope["method"] = "GET"
            try:
                if self._browsers.asks_first(scope):
                    await answer.whole(NO_CONTENT, self._browsers.preflight())
                else:
                    await self._app(scope, receive, until_streamed(answer.send, span, scope))
            except Exception as error:
                await answer.fail(error)
            finally:
                log.info(
                    "http_request",
                    method=method,
                    route=scope.get("path_template", "unknown"),
                    status=answer.status,
                    duration_ms=round((time.perf_counter() - answer.began) * 1000, 1),
                )
                answered(span, scope, answer.status)
                # Bound where a turn was made or touched (`actions.py`).
                unbind_contextvars("turn_id", "conversation_id")


class Answer:
    """What goes back to the client. An event stream keeps it: there are thousands."""

    __slots__ = (
        "_browsers",
        "_ended",
        "_request_id",
        "_scope",
        "_send",
        "began",
        "method",
        "status",
    )

    def __init__(self, send: Send, scope: HTTPScope, request_id: str, browsers: Browsers) -> None:
        self._send = send
        self._scope = scope
        self._request_id = request_id
        self._browsers = browsers
        self.method: str = scope["method"]
        self.began = time.perf_counter()
        self._ended = False
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            method = self.method if self.method in METHODS else "other"
            took = time.perf_counter() - self.began
            # Whoever looks after us asks all the time: a few requests that fail would not be seen.
            if not asks_for_health(self._scope):
                REQUEST_SECONDS.labels(method, self.status).observe(took)
            given = [(name.lower(), value) for name, value in message["headers"]]
            headers = self._browsers.headers(self._scope, given)
            message["headers"] = [*headers, (b"x-request-id", self._request_id.encode())]
        elif message["type"] == "http.response.body" and self.method == "HEAD":
            if self._ended:
                return
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def whole(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: Exception) -> None:
        """Only what breaks after the answer began, or in the framework itself, comes here."""
        log.error("request_error", **told(error))
        if self.status:
            return
        body = json.encode(INTERNAL)
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self.whole(INTERNAL.status, headers, body)


def request_id_of(scope: HTTPScope) -> str:
    """The one that the client or a proxy gave, if it is fit to be written down; or a new one."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode()
    return uuid4().hex
