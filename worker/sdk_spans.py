"""What the Agents SDK tells of its runs, as spans within the turn's.

It would send them to its vendor, with prompts and keys. Here it tells us alone, and we keep what
was done, by which agent and how long it took; never what was said.
"""

from __future__ import annotations

from typing import Any

from agents import set_trace_processors, set_tracing_disabled
from agents.tracing import Span as SdkSpan
from agents.tracing import Trace, TracingProcessor
from agents.tracing.span_data import AgentSpanData, GuardrailSpanData, HandoffSpanData

from shared.spans import Fact, Kind, Span, span
from worker.agent import RUN_CONFIG

INVOKE_AGENT = "invoke_agent"
TRIPPED = "guardrail_tripped"


def hear_the_sdk() -> None:
    """From now on the SDK's spans come to us, and to nobody else."""
    set_trace_processors([SdkSpans()])
    RUN_CONFIG.tracing_disabled = False
    set_tracing_disabled(False)


class SdkSpans(TracingProcessor):
    """Model calls and tool calls are left out: ours tell of them, with what they committed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Span] = {}

    def on_trace_start(self, trace: Trace) -> None:
        """The trace is the turn's."""

    def on_trace_end(self, trace: Trace) -> None:
        """Ends what the SDK has forgotten to."""
        for key in [key for key in self._open if key[0] == trace.trace_id]:
            self._open.pop(key).end()

    def on_span_start(self, span: SdkSpan[Any]) -> None:
        begun = begun_for(span.span_data)
        if begun is not None:
            self._open[span.trace_id, span.span_id] = begun.__enter__()

    def on_span_end(self, span: SdkSpan[Any]) -> None:
        begun = self._open.pop((span.trace_id, span.span_id), None)
        if begun is None:
            return
        match span.span_data:
            case HandoffSpanData(to_agent=str(agent)):
                begun.named(agent)  # not known before
            case GuardrailSpanData(triggered=True):
                begun.failed(TRIPPED)
            case _:
                pass  # what else went wrong is told by the turn
        begun.__exit__(None, None, None)

    def shutdown(self) -> None:
        """`shared/tracing.py` does it."""

    def force_flush(self) -> None:
        """The same."""


def begun_for(data: Any) -> Span | None:
    match data:
        case AgentSpanData():
            facts = {Fact.OPERATION: INVOKE_AGENT, Fact.AGENT: data.name}
            return span(Kind.AGENT, data.name, facts)
        case HandoffSpanData():
            return span(Kind.HANDOFF)
        case GuardrailSpanData():
            return span(Kind.GUARDRAIL, data.name)
        case _:
            return None
