"""The outermost layer: every request has an id, a log line, and an answer with safe headers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from copy import copy
from uuid import uuid4

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import json

from api.errors import INTERNAL, PROBLEM_JSON

log = structlog.get_logger()

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


class Edge:
    """Wraps the whole application, so that what the framework answers by itself passes here too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            answer = Answer(send, request_id, bodiless=scope["method"] == "HEAD")
            method = scope["method"]
            if method == "HEAD":
                # What GET would say, without its body; no handler has to think of it. A copy: the
                # server looks at its own to see whether a body may follow.
                scope = copy(scope)
                scope["method"] = "GET"
            began = time.perf_counter()
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:
                await answer.fail(error)
            finally:
                log.info(
                    "http_request",
                    method=method,
                    route=scope.get("path_template", "unknown"),
                    status=answer.status,
                    duration_ms=round((time.perf_counter() - began) * 1000, 1),
                )


class Answer:
    """What goes back to the client."""

    def __init__(self, send: Send, request_id: str, *, bodiless: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._bodiless = bodiless
        self._ended = False
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message["headers"])
        elif message["type"] == "http.response.body" and self._bodiless:
            if self._ended:
                return
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Only what breaks after the answer began, or in the framework itself, comes here."""
        cause = type(error.__cause__).__name__ if error.__cause__ else None
        log.error("request_error", error=type(error).__name__, cause=cause)
        if self.status:
            return
        body = json.encode(INTERNAL)
        await self.send(
            {
                "type": "http.response.start",
                "status": INTERNAL.status,
                "headers": [
                    (b"content-type", PROBLEM_JSON.encode()),
                    (b"content-length", str(len(body)).encode()),
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [(name.lower(), value) for name, value in given]
        names = {name for name, _ in headers}
        headers += [(name, value) for name, value in HEADERS.items() if name not in names]
        return [*headers, (b"x-request-id", self._request_id.encode())]
