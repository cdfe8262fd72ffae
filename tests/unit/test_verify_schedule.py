"""The faults of a storm follow from its seed and from nothing else."""

from __future__ import annotations

import random
from itertools import islice, pairwise

from cli.verify.schedule import MEANING, Fault, Planned, Schedule

LEASE = 6.0
SEEDS = range(20)
MINUTE = 60.0


def schedule(seed: int, workers: int = 3, apis: int = 2) -> Schedule:
    return Schedule(seed, workers=workers, apis=apis, lease=LEASE)


def faults(seed: int, count: int = 200, workers: int = 3, apis: int = 2) -> list[Planned]:
    return list(islice(schedule(seed, workers, apis).faults(), count))


def test_the_same_seed_gives_the_same_faults() -> None:
    assert faults(7) == faults(7)
    assert schedule(7).hash == schedule(7).hash


def test_another_seed_gives_other_faults() -> None:
    assert len({schedule(seed).hash for seed in SEEDS}) == len(SEEDS)


def test_nobody_elses_dice_change_the_faults() -> None:
    before = faults(7)
    random.seed(1)
    running = schedule(7).faults()
    first = next(running)
    random.random()
    list(islice(schedule(8).faults(), 10))
    assert [first, *islice(running, 199)] == before


def test_every_fault_comes_within_a_minute() -> None:
    for seed in SEEDS:
        assert {planned.fault for planned in faults(seed) if planned.at < MINUTE} == set(Fault)


def test_even_a_short_storm_has_a_worker_killed() -> None:
    for seed in SEEDS:
        first = faults(seed, 1)[0]
        assert first.fault is Fault.worker_killed
        assert first.at < 2


def test_faults_come_every_two_and_a_half_seconds_or_so() -> None:
    ends = [faults(seed)[-1].at / 200 for seed in SEEDS]
    assert 2.2 < sum(ends) / len(ends) < 2.8


def test_worker_deaths_are_the_most_frequent() -> None:
    found = [planned.fault for seed in SEEDS for planned in faults(seed)]
    assert max(Fault, key=found.count) is Fault.worker_killed


def test_a_frozen_worker_loses_its_lease() -> None:
    frozen = [p for seed in SEEDS for p in faults(seed) if p.fault is Fault.worker_frozen]
    assert frozen
    assert all(LEASE + 1 <= planned.seconds <= LEASE + 3 for planned in frozen)


def test_nobody_is_hit_while_it_is_away() -> None:
    for seed in SEEDS:
        back: dict[str, float] = {}
        for planned in faults(seed):
            assert planned.at >= back.get(planned.target, 0.0)
            back[planned.target] = planned.at + planned.seconds


def test_one_api_is_left_for_the_clients() -> None:
    for seed in SEEDS:
        away = [p for p in faults(seed) if p.target.startswith("api-")]
        for earlier, later in pairwise(away):
            assert later.at > earlier.at + earlier.seconds


def test_every_process_has_its_turn() -> None:
    targets = {planned.target for planned in faults(1)}
    workers = {"worker-1", "worker-2", "worker-3", "workers"}
    assert targets == workers | {"api-1", "api-2", "redis", "postgres"}


def test_a_single_worker_and_api_can_be_stormed_too() -> None:
    alone = faults(1, workers=1, apis=1)
    assert {planned.fault for planned in alone} == set(Fault)


def test_every_fault_is_explained() -> None:
    assert set(MEANING) == set(Fault)
