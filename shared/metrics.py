"""What can be measured: every metric of every process (`docs/metrics.md` tells what each is for).

Labels have few values, all of them ours: never an owner, a conversation, or a name that a model or
a client made up. Every process has all of them, and what it doesn't do stays at nothing; only what
is said of the service as a whole is said by the APIs alone.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4"
"""Prometheus' text format."""

disable_created_metrics()
REGISTRY = CollectorRegistry()
SERVICE = CollectorRegistry()
"""Of the service as a whole."""
ProcessCollector(registry=REGISTRY)

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


LABELS: dict[str, tuple[str, ...]] = {}
"""Of each metric of ours, by its name without what Prometheus' format puts behind it."""


def _counter(name: str, help_: str, *labels: str) -> Counter:
    LABELS[name] = labels
    return Counter(name, help_, labels, registry=REGISTRY)


def _gauge(name: str, help_: str, *labels: str) -> Gauge:
    LABELS[name] = labels
    return Gauge(name, help_, labels, registry=REGISTRY)


def _of_service(name: str, help_: str, *labels: str) -> Gauge:
    LABELS[name] = labels
    return Gauge(name, help_, labels, registry=SERVICE)


def _histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    LABELS[name] = labels
    return Histogram(name, help_, labels, buckets=buckets, registry=REGISTRY)


# The service as a whole: every API says the same of it, so ask for the maximum and not the sum.
TURNS = _of_service("parley_turns", "Turns that have not ended.", "status")
OLDEST_WAITING = _of_service(
    "parley_oldest_waiting_turn_seconds",
    "How long a turn has waited that could run now, the longest of them.",
)
QUEUE_JOBS = _of_service("parley_queue_jobs", "Rings in Redis that wait or are at work.")
WORKERS = _of_service("parley_workers", "Workers whose lease holds.")
STORE_UP = _of_service(
    "parley_store_up", "1 if it answered this API a moment ago, else 0.", "store"
)

# Turns, where a worker runs them.
CLAIMED = _counter(
    "parley_turns_claimed",
    "Attempts begun: of a new turn, of one retried by its user, of one given back or approved "
    "(resumed), or of one whose worker is gone (takeover).",
    "cause",
)
RETRIES = _counter(
    "parley_turn_retries",
    "Attempts given back for another one to follow: a passing fault of the model (its code), "
    "draining, or Postgres away (unavailable).",
    "cause",
)
LOST = _counter(
    "parley_turns_lost", "Attempts whose turn was somebody else's by then: nothing was written."
)
SWEPT = _counter("parley_turns_swept", "Turns the sweep found because no ring had come for them.")
ENDED = _counter("parley_turns_ended", "Turns that ended.", "status")
FAILED = _counter("parley_turns_failed", "Turns that failed, by the error's code.", "code")
PHASE_SECONDS = _histogram(
    "parley_turn_phase_seconds",
    "Of turns that ended: accepted to claimed (queue), to the first token (first_token), "
    "to the end (answer), and all of it (total).",
    _LONG,
    "phase",
)
RUNNING = _gauge("parley_worker_turns", "Turns this worker runs.")
PLACES = _gauge("parley_worker_places", "Turns this worker may run at once.")
HEARTBEATS_FAILED = _counter(
    "parley_heartbeats_failed", "Times this worker could not renew its lease."
)

# Models and tools.
MODEL_SECONDS = _histogram(
    "parley_model_call_seconds",
    "A model call, to its end: answered, stopped by us, or the error's code.",
    _LONG,
    "outcome",
)
MODEL_FIRST_TOKEN_SECONDS = _histogram(
    "parley_model_first_token_seconds", "From asking the model to its first token.", _LONG
)
MODEL_TOKENS = _counter("parley_model_tokens", "Tokens the provider counted.", "direction")
TOOL_SECONDS = _histogram(
    "parley_tool_call_seconds",
    "A tool call, by the tool's name; of another service's tools, by that service's.",
    _LONG,
    "tool",
    "status",
)

# Viewers.
STREAMS = _gauge("parley_streams_open", "Event streams open in this API.")
REPLAYS = _counter(
    "parley_replays",
    "Times a viewer was sent to the rows: as the stream opened, or because something was missed.",
    "cause",
)
DELTAS = _counter("parley_deltas", "Pieces of text told to the viewers' feed.")
FEED_UP = _gauge("parley_feed_up", "1 while this process hears the live feed, else 0.")

# Requests and limits.
REQUEST_SECONDS = _histogram(
    "parley_http_request_seconds",
    "From a request to the beginning of its answer. `wait=` and streams that replay take longer. "
    "The health routes and /metrics don't count.",
    _QUICK,
    "method",
    "status",
)
LIMITED = _counter(
    "parley_limits_hit", "Refused or held back by a limit (docs/limits.md).", "limit"
)

# Postgres and Redis.
POOL = _gauge("parley_database_connections", "Connections to Postgres.", "state")
POOL_SIZE = _gauge("parley_database_pool_size", "Connections to Postgres there may be.")
POOL_WAIT_SECONDS = _histogram(
    "parley_database_wait_seconds", "How long a transaction waited for a connection.", _QUICK
)
DATABASE_ERRORS = _counter(
    "parley_database_unavailable", "Times Postgres was away, or had no connection for us in time."
)
REDIS_ERRORS = _counter(
    "parley_redis_unavailable", "Times Redis was away when something was asked of it."
)
REDIS_RECONNECTS = _counter(
    "parley_redis_reconnects", "Times the feed or the queue lost Redis and began anew."
)
INFO = _gauge("parley_info", "Always 1.", "version", "schema")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PHASES = ("queue", "first_token", "answer", "total")
FAILURES = (
    "answer_too_long",
    "attempts_exhausted",
    "internal",
    "model_empty",
    "model_incomplete",
    "model_invalid",
    "model_rate_limited",
    "model_refused",
    "model_rejected",
    "model_timeout",
    "model_unauthorized",
    "model_unavailable",
    "model_unreachable",
    "token_budget_exhausted",
    "too_many_model_calls",
    "turn_timeout",
)
"""Every code a turn can fail with."""
# A counter that first appears at 1 has not grown, as Prometheus sees it: the first failure of a
# kind would be missing, and often there is no second. So what can be counted is there from the
# start, at nothing.
_KNOWN: tuple[tuple[Counter | Histogram, tuple[str, ...]], ...] = (
    (CLAIMED, ("new", "retried", "resumed", "takeover")),
    (RETRIES, (*FAILURES, "drain", "unavailable")),
    (ENDED, ("completed", "failed", "cancelled")),
    (FAILED, FAILURES),
    (PHASE_SECONDS, PHASES),
    (MODEL_TOKENS, ("input", "output")),
    (REPLAYS, ("opened", "missed", "gap")),
    (
        LIMITED,
        ("address", "messages", "queued_turns", "requests", "running_turns", "streams", "tokens"),
    ),
)
for _metric, _values in _KNOWN:
    for _value in _values:
        _metric.labels(_value)


def exposition(*, service: bool = False) -> bytes:
    """This process' metrics in Prometheus' text format, with those of the service if asked for.
    Takes milliseconds.
    """
    return generate_latest(REGISTRY) + (generate_latest(SERVICE) if service else b"")
