"""The table of steps speaks of the steps there are, and its report of what came of them."""

from __future__ import annotations

from cli.verify.cells import STEPS, WAYS, Cell, Outcome, cells
from cli.verify.conduct import Conduct
from cli.verify.invariants import Invariant, Violation
from cli.verify.report import Report, table
from worker.rigged import SIGNALS
from worker.steps import Step


def report(*violations: Violation, steps: tuple[Outcome, ...] = ()) -> Report:
    checked = {Conduct.steps.name: len(steps)}
    return Report(1, None, steps, violations, checked, seconds=2.0, kept="somewhere")


def test_the_steps_are_those_of_the_worker() -> None:
    assert tuple(Step) == STEPS
    assert set(WAYS) == set(SIGNALS)


def test_every_step_is_proved_both_ways_once() -> None:
    proved = cells()
    assert len(proved) == len(set(proved)) == len(STEPS) * len(WAYS)


def test_only_a_committed_claim_costs_an_attempt() -> None:
    attempts = {step: Cell(step, "kill").attempt for step in STEPS}
    assert attempts["claim_written"] == 1
    assert attempts["claim_committed"] == attempts["end_written"] == 2
    assert attempts["end_committed"] == attempts["end_told"] == 1


def test_no_violation_is_a_good_report() -> None:
    good = report(steps=(Outcome(Cell("tool_started", "kill"), seconds=1.5),))
    assert good.good
    assert good.markdown().startswith("# parley verify: 0 violations\n")
    assert "| tool_started | ok, 1.5 s |  |" in good.markdown()


def test_a_violation_is_told_first_with_its_sentence_and_detail() -> None:
    lost = Violation(Invariant.accepted_once.name, "message 7\nis nowhere")
    text = report(lost).markdown()
    assert not report(lost).good
    assert text.startswith("# parley verify: 1 violation\n")
    assert Invariant.accepted_once in text
    assert "    message 7\n    is nowhere" in text
    assert text.index("message 7") < text.index("## Invariants")


def test_many_violations_of_a_kind_are_counted_and_not_all_told() -> None:
    many = [Violation(Conduct.lives.name, f"worker {number}") for number in range(30)]
    text = report(*many, Violation(Conduct.ends.name, "api 1")).markdown()
    assert "30 times" in text
    assert "worker 0" in text
    assert "worker 29" not in text
    assert "api 1" in text


def test_a_problem_at_a_step_is_in_its_cell() -> None:
    broken = Outcome(Cell("end_written", "stop"), problems=["two answers"])
    assert "| end_written |  | **violation** |" in report(steps=(broken,)).markdown()


def test_a_cell_of_a_table_stays_one_cell() -> None:
    assert table(("a",), [("x | y",)]) == "| a |\n| --- |\n| x / y |"
