"""Spans made by the OpenTelemetry SDK and told by OTLP over HTTP: `shared/tracing.py` loads it.

The provider is ours alone and not the process's: libraries that would make spans of their own, with
whatever they find worth telling, find none. Spans are handed to a thread by a queue that has an
end; who makes them never waits, and those that don't fit are lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import Any
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from structlog.contextvars import bind_contextvars, reset_contextvars

from shared.spans import NOTHING, TRACEPARENT, Fact, Facts, Kind, Moment, Span

OF_KIND = {Kind.REQUEST: SpanKind.SERVER, Kind.TURN: SpanKind.CONSUMER, Kind.CHAT: SpanKind.CLIENT}

_current: ContextVar[Recorded | None] = ContextVar("span", default=None)


class Recorded(Span):
    """Entered, it is the current one of its task and of the tasks that it begins."""

    def __init__(self, otel: OtelSpan, entry: Recorded | None, kind: Kind) -> None:
        self.otel = otel
        self.entry = entry or self
        self._kind = kind
        self._before: Recorded | None = None
        self._bound: Mapping[str, Token[Any]] = {}
        self._failed = False
        self._ended = False

    def __enter__(self) -> Recorded:
        self._before = _current.get()
        _current.set(self)
        if self.entry is self:
            self._bound = bind_contextvars(trace_id=f"{self.otel.get_span_context().trace_id:032x}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.set(self._before)
        reset_contextvars(**self._bound)
        if isinstance(error, asyncio.CancelledError):
            self.note({Fact.ERROR: type(error).__name__})
        elif error is not None:
            self.failed(type(error).__name__)
        self.end()

    def note(self, facts: Facts) -> None:
        if not self._ended:
            self.otel.set_attributes(attributes(facts))

    def named(self, what: str) -> None:
        if not self._ended:
            self.otel.update_name(name_of(self._kind, what))

    def passed(self, moment: Moment) -> None:
        if not self._ended:
            self.otel.add_event(moment)

    def failed(self, code: str) -> None:
        if not self._failed:
            self._failed = True
            self.note({Fact.ERROR: code})
            self.otel.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self.otel.end()


class Otlp:
    """Records spans, and tells them to `url`."""

    def __init__(self, url: str, *, service: str) -> None:
        # One line for each batch that is lost, and not one for each try.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("parley")

    def span(self, kind: Kind, what: str, facts: Facts | None) -> Span:
        """Nothing where it would be a part of nothing: the sweep's work, say."""
        parent = _current.get()
        if parent is None:
            return NOTHING
        context = set_span_in_context(parent.otel, Context())
        return Recorded(self._begin(kind, what, context, facts), parent.entry, kind)

    def entry(self, kind: Kind, what: str, traceparent: str | None, facts: Facts | None) -> Span:
        context = context_of(traceparent)
        return Recorded(self._begin(kind, what, context, facts), None, kind)

    def past(self, kind: Kind, traceparent: str | None, began: datetime) -> None:
        """The clocks of two machines differ: nothing ends before it began."""
        now = time.time_ns()
        start = min(round(began.timestamp() * 1e9), now)
        context = context_of(traceparent)
        self._tracer.start_span(kind, context=context, start_time=start).end(now)

    def traceparent(self) -> str | None:
        current = _current.get()
        if current is None:
            return None
        found = current.otel.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    def root(self) -> Span:
        current = _current.get()
        return NOTHING if current is None else current.entry

    def end(self, seconds: float) -> None:
        """The SDK would wait for half a minute."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)

    def _begin(self, kind: Kind, what: str, context: Context, facts: Facts | None) -> OtelSpan:
        return self._tracer.start_span(
            name_of(kind, what),
            context=context,
            kind=OF_KIND.get(kind, SpanKind.INTERNAL),
            attributes=attributes(facts or {}),
        )


def name_of(kind: Kind, what: str) -> str:
    word = kind.partition("<")[0].strip()
    return f"{word} {what}".strip()


def attributes(facts: Facts) -> dict[str, str | int | Sequence[str]]:
    return {
        fact.value: str(value) if isinstance(value, UUID) else value
        for fact, value in facts.items()
        if value is not None
    }


def context_of(traceparent: str | None) -> Context:
    """Of somebody else's span; empty where it is none, so that a trace of our own begins."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return Context()
    remote = SpanContext(
        trace_id=int(found["trace"], 16),
        span_id=int(found["span"], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found["flags"], 16) & TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())
