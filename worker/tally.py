"""What the work on a turn took, for its lines in the log and its spans: names, numbers and codes.

Never what was said: no message, no tool's arguments or result, not the provider's words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog

from shared.events import Turn
from shared.log import told
from shared.metrics import (
    ENDED,
    FAILED,
    LOST,
    MODEL_FIRST_TOKEN_SECONDS,
    MODEL_SECONDS,
    MODEL_TOKENS,
    PHASE_SECONDS,
    RETRIES,
    TOOL_SECONDS,
)
from shared.spans import Fact, Kind, Moment, Span, span
from shared.store.claims import Claim
from worker.failures import failure_of
from worker.traces import outcome

log = structlog.get_logger()

MAX_LISTED = 20
"""More model calls or tools than this are counted and not listed."""


class ModelCall:
    """One request to the model; the times run from its beginning."""

    def __init__(self, told: Span) -> None:
        self._told = told
        self._began = time.perf_counter()
        self._first_token: float | None = None
        self._took: float | None = None
        self._finish = "unknown"
        self._outcome = "answered"
        self._usage: dict[str, int] = {}

    def first_token(self) -> None:
        if self._first_token is None:
            self._first_token = time.perf_counter() - self._began
            MODEL_FIRST_TOKEN_SECONDS.observe(self._first_token)
            self._told.passed(Moment.FIRST_TOKEN)

    def answered(self, finish: str, usage: dict[str, int]) -> None:
        self._took = time.perf_counter() - self._began
        self._finish, self._usage = finish, usage
        for direction in ("input", "output"):
            MODEL_TOKENS.labels(direction).inc(usage.get(f"{direction}_tokens", 0))
        facts = {
            Fact.INPUT_TOKENS: usage.get("input_tokens"),
            Fact.OUTPUT_TOKENS: usage.get("output_tokens"),
        }
        self._told.note(facts | {Fact.FINISH: (finish,)})

    def broke(self, error: BaseException) -> None:
        """The model's failure, or that nobody wanted the rest any more."""
        stopped = isinstance(error, asyncio.CancelledError)
        self._finish = self._outcome = "stopped" if stopped else failure_of(error).code
        if not stopped:
            self._told.failed(self._finish)

    def end(self) -> int:
        seconds = time.perf_counter() - self._began if self._took is None else self._took
        MODEL_SECONDS.labels(self._outcome).observe(seconds)
        took = _ms(seconds)
        log.info(
            "model_call",
            duration_ms=took,
            first_token_ms=None if self._first_token is None else _ms(self._first_token),
            input_tokens=self._usage.get("input_tokens"),
            output_tokens=self._usage.get("output_tokens"),
            finish=self._finish,
        )
        return took


class Tally:
    """Of one attempt."""

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._model_ms: list[int] = []
        self._tools: list[dict[str, Any]] = []
        self._code: str | None = None

    @contextmanager
    def model_call(self) -> Generator[ModelCall]:
        facts = {Fact.OPERATION: "chat", Fact.MODEL: self._model}
        with span(Kind.CHAT, self._model, facts) as told:
            call = ModelCall(told)
            try:
                yield call
            except BaseException as error:
                call.broke(error)
                raise
            finally:
                self._model_ms.append(call.end())

    @contextmanager
    def tool_call(self, name: str, group: str) -> Generator[None]:
        """One at a time: a turn's tools run one after the other. `group` is what it is measured
        as.
        """
        began, self._code, status = time.perf_counter(), None, "interrupted"
        with span(Kind.TOOL, name, {Fact.OPERATION: "execute_tool", Fact.TOOL: name}) as told:
            try:
                yield
                status = "failed" if self._code else "completed"
            finally:
                seconds = time.perf_counter() - began
                TOOL_SECONDS.labels(group, status).observe(seconds)
                facts = {"tool": name, "duration_ms": _ms(seconds), "status": status}
                self._tools.append(facts | ({"code": self._code} if self._code else {}))
                log.info("tool_call", **self._tools[-1])
                told.note({Fact.TOOL_STATUS: status})
                if self._code:
                    told.failed(self._code)

    def tool_failed(self, code: str) -> None:
        self._code = code

    @property
    def facts(self) -> dict[str, Any]:
        tools = self._tools
        return {
            "model_ms": sum(self._model_ms),
            "model_ms_each": self._model_ms[:MAX_LISTED],
            "tool_calls": len(tools),
            "tools": tools[:MAX_LISTED],
        }


def turn_ended(
    turn: Turn, claimed: Claim, tally: Tally | None = None, cause: BaseException | None = None
) -> None:
    """The one line about a turn as a whole. Times are the database's, from when it was queued;
    what the tally has is this attempt's.
    """
    _measure(turn, claimed)
    usage = turn.usage or {}
    outcome(turn.status, turn.error.code if turn.error else None)
    say = log.warning if turn.status == "failed" else log.info
    say(
        "turn_ended",
        status=turn.status,
        code=turn.error.code if turn.error else None,
        model=turn.model,
        model_calls=usage.get("model_calls", 0),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        queue_ms=_between(claimed.queued_at, turn.started_at),
        first_token_ms=_between(turn.started_at, turn.first_token_at),
        total_ms=_between(claimed.queued_at, turn.finished_at),
        **(tally or Tally()).facts,
        **(told(cause) if cause is not None else {}),
    )


def turn_lost() -> None:
    """It is somebody else's, or has ended: this attempt has written nothing more."""
    log.info("turn_lost")
    LOST.inc()
    outcome("turn_lost")


def turn_given_back(pause: float, cause: str) -> None:
    """Another attempt is due after so many seconds. `cause` is `Pause.cause`."""
    log.info("turn_given_back", pause=round(pause, 3))
    RETRIES.labels(cause).inc()
    outcome("given_back")


def turn_awaits_approval() -> None:
    log.info("turn_awaits_approval")
    outcome("awaiting_approval")


def _measure(turn: Turn, claimed: Claim) -> None:
    ENDED.labels(turn.status).inc()
    if turn.error is not None:
        FAILED.labels(turn.error.code).inc()
    phases = {
        "queue": (claimed.queued_at, turn.started_at),
        "first_token": (turn.started_at, turn.first_token_at),
        "answer": (turn.first_token_at, turn.finished_at),
        "total": (claimed.queued_at, turn.finished_at),
    }
    for phase, (earlier, later) in phases.items():
        if earlier is not None and later is not None:
            PHASE_SECONDS.labels(phase).observe(max(0.0, (later - earlier).total_seconds()))


def _between(earlier: datetime | None, later: datetime | None) -> int | None:
    if earlier is None or later is None:
        return None
    return _ms((later - earlier).total_seconds())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
