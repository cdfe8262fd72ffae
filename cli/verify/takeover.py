"""How long turns waited for another worker, and what the next attempt found done: from the logs.

A takeover is a claim with an attempt greater than 1. Its time runs from the moment in which the
holder of the attempt before was killed or frozen, or gave the turn back. Only what the logs prove
is counted: a holder that was killed before it could log its claim is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cli.verify.chaos import Outage
from cli.verify.part import Life

RECOVERY_SECONDS = 2.0
"""Who found a store away asks again after a second."""


BROKEN = ("process_crashed", "library_warning")
"""What a process that works never says."""


@dataclass(frozen=True)
class Line:
    """One event of a log."""

    at: float
    event: str
    fields: dict[str, Any]

    @property
    def turn(self) -> tuple[str, int]:
        return str(self.fields.get("turn_id")), int(self.fields.get("attempt", 0))


def read_log(text: str) -> tuple[list[Line], list[str]]:
    """The events, and the lines that tell of something broken or are no events at all."""
    lines: list[Line] = []
    strange: list[str] = []
    for raw in text.splitlines():
        try:
            fields: dict[str, Any] = json.loads(raw)
            at = datetime.fromisoformat(fields.pop("timestamp")).timestamp()
            event = fields.pop("event")
            if event in BROKEN:
                strange.append(raw)
            else:
                lines.append(Line(at, event, fields))
        except (ValueError, KeyError, AttributeError, TypeError):
            if raw.strip():
                strange.append(raw)
    return lines, strange


class Loss(StrEnum):
    """How a worker came to lose a turn."""

    killed = "killed"
    frozen = "frozen"
    drained = "drained"
    interrupted = "interrupted"


@dataclass
class Work:
    """A worker process: what it logged and what was done to it."""

    lines: list[Line]
    ready: float | None
    asked: float | None = None
    """When it was killed, or asked to end."""
    killed: bool = False
    frozen: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @classmethod
    def of(cls, life: Life, lines: list[Line]) -> Work:
        return cls(
            lines,
            life.ready,
            life.asked,
            killed=life.number is not None and life.number.name == "SIGKILL",
            frozen=[(pair[0], pair[-1]) for pair in life.frozen],
        )

    def well(self, began: float, ended: float) -> bool:
        """Whether it could have taken a turn at any moment of this time."""
        if self.ready is None or self.ready > began:
            return False
        if self.asked is not None and self.asked < ended:
            return False
        return not any(start < ended and stop > began for start, stop in self.frozen)


@dataclass(frozen=True)
class Takeover:
    turn_id: str
    attempt: int
    loss: Loss
    seconds: float
    disturbed: bool
    """A store was away meanwhile or just before, or no other worker was well: no measure of the
    mechanism.
    """


@dataclass
class Resumed:
    """What later attempts found of the earlier ones."""

    turns: int = 0
    calls_done: int = 0
    calls_open: int = 0


@dataclass(frozen=True)
class Limits:
    lease: float
    sweep: float
    """The longest pause between two looks."""

    @property
    def after_loss(self) -> float:
        return self.lease + self.sweep

    @property
    def after_drain(self) -> float:
        return 1.0


def takeovers(
    works: Sequence[Work], outages: Sequence[Outage], limits: Limits
) -> Iterable[Takeover]:
    held = {line.turn: (work, line) for work in works for line in claims(work)}
    for line in (line for work in works for line in claims(work)):
        turn_id, attempt = line.turn
        holder, claim = held.get((turn_id, attempt - 1), (None, line))
        lost = _lost(holder, claim, line.at, limits) if holder else None
        if lost is None:
            continue
        loss, since = lost
        others = [work for work in works if work is not holder]
        disturbed = _disturbed(loss, since, line.at, others, outages, limits)
        yield Takeover(turn_id, attempt, loss, line.at - since, disturbed)


def claims(work: Work) -> list[Line]:
    return [line for line in work.lines if line.event == "turn_claimed"]


def resumed(works: Sequence[Work]) -> Resumed:
    found = Resumed()
    for line in (line for work in works for line in work.lines if line.event == "turn_resumed"):
        found.turns += 1
        found.calls_done += int(line.fields.get("calls_done", 0))
        found.calls_open += int(line.fields.get("calls_open", 0))
    return found


def _lost(holder: Work, claim: Line, again: float, limits: Limits) -> tuple[Loss, float] | None:
    """Why and when the holder ceased to hold what it claimed, if another one claimed it `again`."""
    for line in holder.lines:
        if line.event == "turn_given_back" and line.turn == claim.turn and line.at <= again:
            if line.fields.get("pause"):
                return None  # to be tried again later, on purpose
            drained = any(
                other.event == "worker_draining" and other.at <= line.at for other in holder.lines
            )
            return (Loss.drained if drained else Loss.interrupted), line.at
    for start, stop in holder.frozen:
        # It may be claimed a moment after the thaw, before the holder can renew its lease.
        during = claim.at <= start <= again <= stop + limits.sweep
        if during and stop - start >= limits.lease:
            return Loss.frozen, start
    if holder.killed and holder.asked is not None and holder.asked <= again:
        return Loss.killed, holder.asked
    return None


def _disturbed(
    loss: Loss,
    since: float,
    until: float,
    others: Sequence[Work],
    outages: Sequence[Outage],
    limits: Limits,
) -> bool:
    """Somebody must have been there from the moment the turn was free."""
    if any(out.began <= until and out.ended + RECOVERY_SECONDS >= since for out in outages):
        return True
    by_lease = loss in (Loss.killed, Loss.frozen)
    free = since + (limits.lease if by_lease else 0.0)
    noticed = free + (limits.sweep if by_lease else limits.after_drain)
    return not any(other.well(min(free, until), min(noticed, until)) for other in others)
