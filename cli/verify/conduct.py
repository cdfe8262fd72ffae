"""What no process of ours may do, whatever is done to the others."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from cli.verify.invariants import Invariant, Violation


class Conduct(StrEnum):
    """The name stands in a violation, the sentence in the report."""

    lives = "No process ends by itself, whatever happens to the others."
    ready = "A process that is started becomes ready, whatever is away at that time."
    ends = "A process that is asked to stop ends in time, with exit code 0."
    logs = "An API and a worker write one JSON event a line, never a traceback or a warning."
    comes_to_rest = "Once all is well again, nothing stays queued or running for a minute."
    clients_end = "Every client reaches the end of what it has to say."
    steps = "A worker that dies or freezes at any step of a turn costs nothing but time."


def sentence_of(invariant: str) -> str:
    if invariant in Conduct.__members__:
        return Conduct[invariant].value
    return Invariant[invariant].value if invariant in Invariant.__members__ else invariant


class Complaints:
    """Violations as they happen, and how often each rule was put to the test."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()

    def check(self, conduct: Conduct, good: bool) -> bool:
        """Counts it; what to say of a violation is known to whoever checks."""
        self.checked[conduct.name] += 1
        return good

    def take(self, others: Complaints) -> None:
        self.violations += others.violations
        self.checked.update(others.checked)

    def add(self, conduct: Conduct, detail: str) -> None:
        self.violations.append(Violation(conduct.name, detail))
