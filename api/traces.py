"""The span of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from litestar.types import HTTPScope, Message, Send
from structlog.contextvars import get_contextvars

from shared.spans import NOTHING, Fact, Kind, Span, entry, recorder

QUIET = frozenset({"/health", "/health/ready", "/metrics"})
"""Asked every few seconds, by nobody who would look for a trace."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_OTHER"
EVENT_STREAM = b"text/event-stream"
SERVER_ERROR = 500


def request_span(scope: HTTPScope) -> Span:
    """Goes on with the caller's trace, where it gives one."""
    if recorder() is None or scope["path"] in QUIET:
        return NOTHING
    method = method_of(scope)
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    parent = given[0].decode("latin-1") if len(given) == 1 else None
    return entry(Kind.REQUEST, method, traceparent=parent, facts={Fact.METHOD: method})


def until_streamed(send: Send, span: Span, scope: HTTPScope) -> Send:
    """An event stream lives for an hour: its span ends with the headers."""
    if span is NOTHING:
        return send

    async def watched(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.start" and is_stream(message["headers"]):
            answered(span, scope, message["status"])
            span.end()

    return watched


def answered(span: Span, scope: HTTPScope, status: int) -> None:
    """What is known of a request by its end."""
    if span is NOTHING:
        return
    known = get_contextvars()
    route = route_of(scope)
    facts = {Fact.STATUS: status or None, Fact.ROUTE: route or None}
    of_turn = {Fact.TURN: known.get("turn_id"), Fact.CONVERSATION: known.get("conversation_id")}
    span.note(facts | of_turn)
    if route:
        span.named(f"{method_of(scope)} {route}")
    if status >= SERVER_ERROR:
        span.failed(str(status))


def route_of(scope: Mapping[str, object]) -> str:
    """The template; empty where there is no such route."""
    return str(scope.get("path_template", ""))


def method_of(scope: HTTPScope) -> str:
    """A method that isn't HTTP's is the caller's own text."""
    return scope["method"] if scope["method"] in METHODS else OTHER


def is_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(n == b"content-type" and v.startswith(EVENT_STREAM) for n, v in headers)
