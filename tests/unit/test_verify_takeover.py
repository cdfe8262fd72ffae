"""How long a turn waited for another worker, told from log lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from cli.verify.chaos import Outage
from cli.verify.takeover import Limits, Loss, Takeover, Work, read_log, resumed, takeovers

LIMITS = Limits(lease=6.0, sweep=1.0)
TURN = "01a2044b-a1fc-7716-896a-bf3ee006ddd8"


def log(*events: tuple[float, str, int], **fields: int) -> str:
    """Lines as a worker writes them: (second, event, attempt)."""
    lines = [
        {"event": event, "turn_id": TURN, "attempt": attempt, "level": "info", "process": "worker"}
        | fields
        | {"timestamp": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}
        for at, event, attempt in events
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def work(*events: tuple[float, str, int], ready: float = 0.0, **others: object) -> Work:
    lines, strange = read_log(log(*events))
    assert not strange
    return Work(lines, ready, **others)  # pyright: ignore[reportArgumentType]


def found(*works: Work, outages: tuple[Outage, ...] = ()) -> list[Takeover]:
    return list(takeovers(works, outages, LIMITS))


def only(*works: Work, outages: tuple[Outage, ...] = ()) -> Takeover:
    (takeover,) = found(*works, outages=outages)
    return takeover


def killed_at(second: float, *events: tuple[float, str, int]) -> Work:
    return work(*events, asked=second, killed=True)


def test_after_a_kill_it_runs_from_the_kill_to_the_next_claim() -> None:
    dead = killed_at(12, (10, "turn_claimed", 1))
    takeover = only(dead, work((17.5, "turn_claimed", 2)))
    assert takeover.loss is Loss.killed
    assert takeover.seconds == pytest.approx(5.5)
    assert not takeover.disturbed


def test_after_a_drain_it_runs_from_giving_back() -> None:
    drained = work(
        (10, "turn_claimed", 1), (12, "worker_draining", 0), (17, "turn_given_back", 1), asked=12
    )
    takeover = only(drained, work((17.2, "turn_claimed", 2)))
    assert takeover.loss is Loss.drained
    assert takeover.seconds == pytest.approx(0.2)
    assert not takeover.disturbed


def test_giving_back_without_a_drain_is_an_interruption() -> None:
    first = work((10, "turn_claimed", 1), (11, "turn_given_back", 1))
    assert only(first, work((11.5, "turn_claimed", 2))).loss is Loss.interrupted


def test_a_pause_on_purpose_is_no_takeover() -> None:
    lines, _ = read_log(log((10, "turn_claimed", 1), (11, "turn_given_back", 1), pause=2))
    assert found(Work(lines, 0.0), work((13.5, "turn_claimed", 2))) == []


def test_after_a_freeze_it_runs_from_the_freeze() -> None:
    zombie = work((10, "turn_claimed", 1), frozen=[(11.0, 19.0)])
    takeover = only(zombie, work((17, "turn_claimed", 2)))
    assert takeover.loss is Loss.frozen
    assert takeover.seconds == pytest.approx(6)


def test_a_freeze_before_its_claim_is_no_reason() -> None:
    first = work((20, "turn_claimed", 1), frozen=[(11.0, 19.5)])
    assert found(first, work((20.5, "turn_claimed", 2))) == []


def test_a_turn_that_ended_in_time_is_no_takeover() -> None:
    assert found(killed_at(12, (10, "turn_claimed", 1), (11, "turn_ended", 1))) == []


def test_each_attempt_is_measured_against_the_one_before() -> None:
    first = killed_at(12, (10, "turn_claimed", 1))
    second = killed_at(20, (18, "turn_claimed", 2))
    times = [t.seconds for t in found(first, second, work((26, "turn_claimed", 3)))]
    assert times == pytest.approx([6, 6])


def test_a_holder_nobody_logged_is_not_guessed() -> None:
    assert found(killed_at(12, (10, "turn_claimed", 1)), work((17, "turn_claimed", 3))) == []


@pytest.mark.parametrize(
    ("outage", "disturbed"),
    [
        (Outage("postgres", 13, 14), True),
        (Outage("redis", 17, 30), True),
        (Outage("redis", 5, 11.9), True),
        (Outage("redis", 5, 9.9), False),
        (Outage("postgres", 17.6, 18), False),
    ],
)
def test_a_store_that_was_away_meanwhile_disturbs_it(outage: Outage, disturbed: bool) -> None:
    dead = killed_at(12, (10, "turn_claimed", 1))
    rescuer = work((17.5, "turn_claimed", 2))
    assert only(dead, rescuer, outages=(outage,)).disturbed is disturbed


def test_it_is_disturbed_if_nobody_was_there_to_take_over() -> None:
    dead = killed_at(12, (10, "turn_claimed", 1))
    assert only(dead, work((25, "turn_claimed", 2), ready=24)).disturbed
    assert only(dead, work((25, "turn_claimed", 2), frozen=[(15, 24)])).disturbed
    assert not only(dead, work((25, "turn_claimed", 2))).disturbed


def test_resumed_calls_are_added_up() -> None:
    lines, _ = read_log(log((1, "turn_resumed", 2), (2, "turn_resumed", 3), calls_done=2))
    more, _ = read_log(log((3, "turn_resumed", 2), calls_open=1))
    total = resumed([Work(lines, 0.0), Work(more, 0.0)])
    assert (total.turns, total.calls_done, total.calls_open) == (3, 4, 1)


def test_a_line_that_is_no_event_is_strange() -> None:
    crash = log((2, "process_crashed", 0)).strip()
    text = log((1, "turn_claimed", 1)) + "Traceback (most recent call last):\n\n[1, 2]\n" + crash
    lines, strange = read_log(text)
    assert [line.event for line in lines] == ["turn_claimed"]
    assert strange == ["Traceback (most recent call last):", "[1, 2]", crash]
