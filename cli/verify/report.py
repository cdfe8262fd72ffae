"""What `parley verify` says in the end: the verdict first, then what it stands on. Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.verify.cells import STEPS, WAYS, Outcome
from cli.verify.conduct import Conduct, sentence_of
from cli.verify.invariants import Invariant, Violation
from cli.verify.schedule import MEANING
from cli.verify.steps import SETTINGS
from cli.verify.storm import LIMITS, StormResult
from cli.verify.takeover import Loss, Takeover

STEPS_LEASE = SETTINGS["PARLEY_LEASE_SECONDS"]
SHOWN_OF_A_KIND = 5
DETAIL_CHARS = 1500
# What clients and readers judge while it happens: how much of it there was to judge.
SEEN = {
    Invariant.answered: ("posts", "polls", "cancels", "retries"),
    Invariant.doubled_once: ("doubled_posts",),
    Invariant.key_remembered: ("keys_repeated",),
    Invariant.tenants: ("strangers_refused",),
    Invariant.stream_form: ("events", "deltas"),
    Invariant.event_order: ("events", "polls"),
    Invariant.event_number: ("events", "deltas"),
    Invariant.text_offset: ("deltas",),
    Invariant.text_attempt: ("deltas",),
    Invariant.text_prefix: ("deltas",),
    Invariant.over_is_over: ("events", "deltas"),
    Invariant.closing_reason: ("streams", "reconnects"),
    Invariant.converges: ("views_compared",),
}


@dataclass(frozen=True)
class Report:
    seed: int
    storm: StormResult | None
    steps: Sequence[Outcome]
    violations: Sequence[Violation]
    checked: Mapping[str, int]
    seconds: float
    kept: str = ""
    """Where the logs and the database are, if they were kept."""

    @property
    def good(self) -> bool:
        return not self.violations

    def markdown(self) -> str:
        sections = [self._verdict(), self._violations()]
        if self.storm:
            sections += [storm_section(self.storm), takeover_section(self.storm)]
        if self.steps:
            sections.append(steps_section(self.steps))
        sections.append(self._invariants())
        return "\n\n".join(section for section in sections if section) + "\n"

    @property
    def checks(self) -> dict[str, int]:
        """How often each rule was put to the test: one that never was proves nothing."""
        found = {name: self.checked.get(name, 0) for name in Conduct.__members__}
        if self.storm:
            for rule in Invariant:
                seen = sum(self.storm.clients[name] for name in SEEN.get(rule, ()))
                found[rule.name] = self.checked.get(rule.name, 0) + seen
        return found

    def _verdict(self) -> str:
        count = len(self.violations)
        verdict = f"{count} violation{'' if count == 1 else 's'}"
        ran = f"seed {self.seed}"
        if self.storm:
            ran += f" (faults `{self.storm.schedule_hash}`, clients `{self.storm.script_hash}`)"
        ran += f", {self.seconds:.0f} s, {sum(self.checks.values()):,} checks"
        lines = [f"# parley verify: {verdict}", ran]
        if self.kept:
            lines.append(f"Logs and database: `{self.kept}`")
        return "\n\n".join(lines)

    def _violations(self) -> str:
        """The first few of each kind."""
        if not self.violations:
            return ""
        lines = ["## Violations"]
        for name, count in self._broken().most_common():
            lines.append(f"**{sentence_of(name)}** {count} times, `{name}`:")
            found = [each.detail for each in self.violations if each.invariant == name]
            lines += [quoted(detail) for detail in found[:SHOWN_OF_A_KIND]]
        return "\n\n".join(lines)

    def _invariants(self) -> str:
        broken = self._broken()
        rows = [
            (sentence_of(name), f"{count:,}", str(broken[name] or ""))
            for name, count in self.checks.items()
            if count or broken[name]
        ]
        return "## Invariants\n\n" + table(("what must hold", "checked", "violated"), rows)

    def _broken(self) -> Counter[str]:
        return Counter(violation.invariant for violation in self.violations)


def quoted(detail: str) -> str:
    return "\n".join(f"    {line}" for line in detail[:DETAIL_CHARS].splitlines())


def storm_section(storm: StormResult) -> str:
    options = storm.options
    size = f"{options.workers} workers, {options.apis} APIs, {storm.turns.total()} turns"
    scripts = f"{storm.scripts} script{'' if storm.scripts == 1 else 's'}"
    what = f"{size} of {scripts}, {storm.seconds:.0f} s, {storm.faults.total()} faults"
    faults = [(fault, str(count), MEANING[fault]) for fault, count in storm.faults.most_common()]
    took = [(f"{attempt} attempts", count) for attempt, count in sorted(storm.attempts.items())]
    found = storm.resumed
    logged = storm.logged
    rows = [
        ("turns, by end", counted(storm.turns.most_common())),
        ("turns, by attempts", counted(took)),
        ("attempts that went on from an earlier one", str(found.turns)),
        ("tool calls found done, not run again", str(found.calls_done)),
        ("tool calls found open, run then", str(found.calls_open)),
        ("faults of the model", counted(storm.model_faults.most_common())),
        ("workers on turns", counted((name, logged[name]) for name in TOLD if logged[name])),
        ("clients", counted(sorted(storm.clients.items()))),
    ]
    return "\n\n".join(
        (
            f"## Storm\n\n{what}",
            table(("fault", "times", "what it is"), faults),
            table(("what happened", "times"), rows),
        )
    )


TOLD = (
    *("turn_claimed", "turn_ended", "model_retry", "turn_lost", "turn_given_back"),
    *("turn_interrupted", "turn_forgotten", "turn_swept", "ring_abandoned"),
)


def takeover_section(storm: StormResult) -> str:
    """A distribution for each way to lose a turn. The undisturbed ones have a target."""
    limits = {
        Loss.killed: LIMITS.after_loss,
        Loss.frozen: LIMITS.after_loss,
        Loss.drained: LIMITS.after_drain,
    }
    rows: list[tuple[str, ...]] = []
    for loss in Loss:
        for disturbed in (False, True):
            group = [t for t in storm.takeovers if t.loss is loss and t.disturbed is disturbed]
            if group:
                target = None if disturbed else limits.get(loss)
                rows.append(distribution(loss, group, target, disturbed=disturbed))
    if not rows:
        return "## Takeovers\n\nNo worker lost a turn."
    heads = ("turns taken over, worker", "count", "min", "median", "p95", "max", "within target")
    note = (
        f"From the loss to the next claim, in seconds. A lease lasts {LIMITS.lease:g} s and is"
        f" renewed every {LIMITS.lease / 3:g} s; the sweep comes after {LIMITS.sweep:g} s at the"
        " latest. Disturbed: a store was away meanwhile or just before, or no other worker was"
        " there."
    )
    return f"## Takeovers\n\n{note}\n\n{table(heads, rows)}"


def distribution(
    loss: Loss, group: Sequence[Takeover], target: float | None, *, disturbed: bool
) -> tuple[str, ...]:
    times = sorted(takeover.seconds for takeover in group)
    p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
    numbers = (times[0], statistics.median(times), p95, times[-1])
    within = ""
    if target is not None:
        met = sum(seconds <= target for seconds in times)
        within = f"{met} of {len(times)} (≤ {target:g} s)"
    name = f"{loss}, disturbed" if disturbed else str(loss)
    return (name, str(len(times)), *(f"{number:.2f}" for number in numbers), within)


def steps_section(outcomes: Sequence[Outcome]) -> str:
    """One row a step; in each cell how long it took until another worker went on."""
    found = {(outcome.cell.step, outcome.cell.do): outcome for outcome in outcomes}

    def cell(step: str, do: str) -> str:
        outcome = found.get((step, do))
        if outcome is None:
            return ""
        return "**violation**" if outcome.problems else f"ok, {outcome.seconds:.1f} s"

    rows = [(step, *(cell(step, do) for do in WAYS)) for step in STEPS]
    note = (
        "The worker is killed or frozen at the step and another one goes on. A frozen one is woken"
        " while the other is in the middle of its answer, and may change nothing. Seconds until the"
        f" viewer saw that the turn went on; the lease is {STEPS_LEASE} s here."
    )
    heads = ("step of a turn", "killed there", "frozen there, woken later")
    return f"## Steps\n\n{note}\n\n{table(heads, rows)}"


def counted(pairs: Iterable[tuple[object, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs) or "none"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
