"""The span of an attempt at a turn."""

from __future__ import annotations

from uuid import UUID

from shared.spans import Fact, Kind, Span, entry, past, root
from shared.store.claims import Claim


def turn_span(claimed: Claim, worker_id: UUID) -> Span:
    """One attempt, in the trace of the request that queued the turn, if that has one; before it,
    how long the turn waited in the queue.
    """
    turn = claimed.turn
    if claimed.waited and claimed.traceparent is not None:
        past(Kind.QUEUED, traceparent=claimed.traceparent, began=claimed.queued_at)
    return entry(
        Kind.TURN,
        traceparent=claimed.traceparent,
        facts={
            Fact.TURN: turn.id,
            Fact.CONVERSATION: turn.conversation_id,
            Fact.ATTEMPT: turn.attempt,
            Fact.CAUSE: claimed.cause,
            Fact.WORKER: worker_id,
        },
    )


def outcome(what: str, code: str | None = None) -> None:
    """How the attempt ended, and the code of what it failed of."""
    root().note({Fact.OUTCOME: what})
    if code is not None:
        root().failed(code)
