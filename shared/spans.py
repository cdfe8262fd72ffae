"""Spans: what was done for a request or a turn, how long it took and how it ended (docs/traces.md).

Nothing is kept, and nothing of OpenTelemetry is loaded, until `shared/tracing.py` puts a recorder
in. A span holds names, numbers and codes of our own; never what was said, nor by whom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Protocol
from uuid import UUID


class Kind(StrEnum):
    """What is done, and what stands behind it in the span's name."""

    REQUEST = "<method> <route>"
    QUEUED = "queued"
    TURN = "turn"
    AGENT = "invoke_agent <agent>"
    CHAT = "chat <model>"
    TOOL = "execute_tool <tool>"
    COMMIT = "commit <what>"
    HANDOFF = "handoff <agent>"
    GUARDRAIL = "guardrail <name>"


class Fact(StrEnum):
    """What a span may say. Names of OpenTelemetry's conventions where there is one."""

    METHOD = "http.request.method"
    ROUTE = "http.route"
    STATUS = "http.response.status_code"
    ERROR = "error.type"
    OPERATION = "gen_ai.operation.name"
    AGENT = "gen_ai.agent.name"
    MODEL = "gen_ai.request.model"
    INPUT_TOKENS = "gen_ai.usage.input_tokens"
    OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
    FINISH = "gen_ai.response.finish_reasons"
    TOOL = "gen_ai.tool.name"
    TOOL_STATUS = "parley.tool.status"
    TURN = "parley.turn.id"
    CONVERSATION = "parley.conversation.id"
    ATTEMPT = "parley.turn.attempt"
    CAUSE = "parley.turn.cause"
    OUTCOME = "parley.turn.outcome"
    WORKER = "parley.worker.id"


class Moment(StrEnum):
    """Within a span."""

    FIRST_TOKEN = "first_token"  # noqa: S105
    COMMITTED = "committed"


Facts = Mapping[Fact, str | int | UUID | Sequence[str] | None]

TRACEPARENT = re.compile(
    r"00-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})",
    re.ASCII,
)
"""W3C trace context, version 00: 55 characters."""


class Span:
    """Something being done, as a context manager. This one is of those that nobody records."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def note(self, facts: Facts) -> None:
        """Says more. What is None is left out."""

    def named(self, what: str) -> None:
        """Gives the name that wasn't known when it began."""

    def passed(self, moment: Moment) -> None:
        pass

    def failed(self, code: str) -> None:
        """A code of ours, or the kind of an error; the first one counts."""

    def end(self) -> None:
        """Before its block does: then nothing more is told of it."""


NOTHING = Span()


class Recorder(Protocol):
    """Makes spans. The one that is entered last is the parent of the next."""

    def span(self, kind: Kind, what: str, facts: Facts | None) -> Span: ...

    def entry(
        self, kind: Kind, what: str, traceparent: str | None, facts: Facts | None
    ) -> Span: ...

    def past(self, kind: Kind, traceparent: str | None, began: datetime) -> None: ...

    def traceparent(self) -> str | None: ...

    def root(self) -> Span: ...

    def end(self, seconds: float) -> None: ...


_recorder: Recorder | None = None


def record(recorder: Recorder | None) -> None:
    """From now on spans are kept, or, with None, not any more."""
    global _recorder  # noqa: PLW0603
    _recorder = recorder


def recorder() -> Recorder | None:
    return _recorder


def span(kind: Kind, what: str = "", facts: Facts | None = None) -> Span:
    """A part of what is being done here."""
    return NOTHING if _recorder is None else _recorder.span(kind, what, facts)


def entry(
    kind: Kind, what: str = "", *, traceparent: str | None, facts: Facts | None = None
) -> Span:
    """What this process was asked to do: it goes on with that trace, or begins one.

    Log lines have its `trace_id` meanwhile. A traceparent that is none is as good as no one.
    """
    return NOTHING if _recorder is None else _recorder.entry(kind, what, traceparent, facts)


def past(kind: Kind, *, traceparent: str | None, began: datetime) -> None:
    """What has been done until now, by nobody."""
    if _recorder is not None:
        _recorder.past(kind, traceparent, began)


def traceparent() -> str | None:
    """Of the innermost span, for whoever goes on with it elsewhere."""
    return None if _recorder is None else _recorder.traceparent()


def root() -> Span:
    """The entry that all this is done for."""
    return NOTHING if _recorder is None else _recorder.root()
