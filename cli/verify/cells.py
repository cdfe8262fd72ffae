"""The cells of the table of steps: where a worker falls, how, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

# Those of worker/steps.py, which this package may not import; a test compares them.
STEPS = (
    *("claim_written", "claim_committed", "claim_told"),
    *("model_asked", "model_first_text", "model_answered"),
    *("calls_written", "calls_committed", "calls_told"),
    *("tool_started", "result_written", "result_committed", "result_told"),
    *("end_written", "end_committed", "end_told"),
)
WAYS = ("kill", "stop")
SAID = "One two three."


@dataclass(frozen=True)
class Cell:
    step: str
    do: str

    @property
    def name(self) -> str:
        return f"{self.step}-{self.do}"

    @property
    def ended(self) -> bool:
        """Nothing is left for another worker."""
        return self.step in ("end_committed", "end_told")

    @property
    def attempt(self) -> int:
        """With which the turn ends: a claim that was not committed is none."""
        return 1 if self.ended or self.step == "claim_written" else 2

    @property
    def gated(self) -> bool:
        """The frozen one is woken while another works, in the middle of its answer."""
        return self.do == "stop" and not self.step.startswith("end_")

    @property
    def slow(self) -> bool:
        """The frozen worker holds the conversation's lock, until Postgres ends its connection."""
        return self.do == "stop" and self.step.endswith("_written")

    @property
    def text(self) -> str:
        """A message that asks for one tool call and one answer."""
        then = "gated" if self.gated else "say"
        return f'call create_task {{"title": "{self.name}"}}\nthen {then} {SAID}'


@dataclass
class Outcome:
    cell: Cell
    problems: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    """From the fall until the viewer saw that the turn went on, or had ended."""


def cells() -> list[Cell]:
    """The slow ones first: the lanes then end together."""
    every = [Cell(step, do) for step, do in product(STEPS, WAYS)]
    return sorted(every, key=lambda cell: not cell.slow)
