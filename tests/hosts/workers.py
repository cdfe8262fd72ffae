"""What happens when a worker's host is cut off: from everything, or from one of the stores."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cli.verify.ledger import Ledger
from cli.verify.script import Script
from tests.hosts.service import HostPart
from tests.hosts.stage import Stage

TURNS = 6
BEGIN_SECONDS = 20.0
SOON_SECONDS = 5.0
"""From the healing until a worker knows what it lost, and serves again."""
FORGOTTEN_SECONDS = 5 + 3 * 3 + 2.0
"""What the keepalive of `shared/connection.py` makes of a connection that nobody uses."""
SLACK_SECONDS = 1.0
"""For a busy machine."""


async def cut_from_everything(stage: Stage) -> None:
    """In mid-stream. Others take over; it comes back, changes nothing, and serves again."""
    async with _cut(stage, stage.gated(TURNS), []):
        pass


async def cut_for_long(stage: Stage) -> None:
    """Until Postgres, too, keeps no place for a host that is gone."""
    hosts = stage.network.hosts
    async with _cut(stage, stage.gated(TURNS), []) as cut:
        postgres, gone = hosts["postgres"], hosts[cut.victim.name]
        await stage.until("Postgres lets go of it", lambda: not postgres.connected_to(gone), 60)
        stage.took("Postgres lets go of its connections", time.time() - cut.at, FORGOTTEN_SECONDS)


async def cut_from_postgres(stage: Stage) -> None:
    """It still has the model. It comes to the end of its answer and wants to write that down while
    another one is in the middle of the same: only the fence knows better.
    """
    async with _cut(stage, stage.slow(TURNS), ["postgres"]) as cut:
        heard = "it has heard all of its answers, and others haven't"
        await stage.until(heard, lambda: stage.answering(at_most=len(cut.lost)), BEGIN_SECONDS)


async def cut_from_redis(stage: Stage) -> None:
    """The turn goes on, and its viewers are sent to the rows."""
    async with stage.talking(stage.gated(TURNS)) as talking:
        victim, held = await _busiest(stage, talking.ledger)
        stage.network.cut(victim.name, ["redis"])
        await stage.open_gate()
        opened = time.monotonic()
        await stage.until("its turns end", lambda: _turns(victim, "turn_ended") >= held, 20)
        stage.took(f"{len(held)} turns end without Redis", time.monotonic() - opened, SOON_SECONDS)
        await stage.until("clients see it", lambda: talking.ledger.ended >= held, 20)
        stage.took("… and their clients see it", time.monotonic() - opened, SOON_SECONDS)
    ends = [line.fields for line in victim.said("turn_ended") if line.fields["turn_id"] in held]
    stage.expect("nobody else had to run them", {end["attempt"] for end in ends} == {1})


@dataclass(frozen=True)
class Cut:
    victim: HostPart
    lost: set[str]
    """The turns that it had."""
    at: float


@asynccontextmanager
async def _cut(stage: Stage, script: Script, others: list[str]) -> AsyncGenerator[Cut]:
    """Within the block others have taken over. Then all is healed, and the gate opens for both."""
    async with stage.talking(script) as talking:
        victim, lost = await _busiest(stage, talking.ledger)
        cut = Cut(victim, lost, time.time())
        stage.network.cut(victim.name, others)
        await _taken_over(stage, cut)
        yield cut
        await stage.open_gate()
        healed = time.time()
        await stage.heal()
        await stage.until("it knows", lambda: _turns(victim, "turn_lost") >= lost, 30)
        knew = [line.at for line in victim.said("turn_lost") if line.fields["turn_id"] in lost]
        stage.took(
            "until the one cut off knows it", max(knew, default=healed) - healed, SOON_SECONDS
        )
        stage.note("turns bounced, by its log", f"{len(knew)} of {len(lost)}")
    completed = {str(line.fields["turn_id"]) for line in victim.said("turn_ended")}
    stage.expect("the one cut off ended none of them", not completed & lost)
    await _serves_again(stage, victim)


async def _busiest(stage: Stage, ledger: Ledger) -> tuple[HostPart, set[str]]:
    """The worker that has most of the turns, all of which are in the middle of their answer."""
    await stage.until(
        "all answers have begun", lambda: stage.answering(at_least=TURNS), BEGIN_SECONDS
    )
    turns = {sent.turn_id for sent in ledger.sent if sent.accepted}
    holders = stage.holders(turns)
    victim = max(holders, key=lambda worker: len(holders[worker]))
    return victim, holders[victim]


async def _taken_over(stage: Stage, cut: Cut) -> None:
    limits, lost = stage.service.limits, cut.lost
    others = [worker for worker in stage.service.own_workers if worker is not cut.victim]

    def again() -> dict[str, float]:
        return {
            str(line.fields["turn_id"]): line.at
            for worker in others
            for line in worker.said("turn_claimed", attempt=2)
        }

    patience = limits.after_loss + 10
    await stage.until("others took over", lambda: again().keys() >= lost, patience)
    took = [at - cut.at for turn, at in again().items() if turn in lost] or [patience]
    most = limits.after_loss + SLACK_SECONDS
    stage.took(f"takeover, the last of {len(lost)} turns", max(took), most)


async def _serves_again(stage: Stage, victim: HostPart) -> None:
    """Messages are said until it has answered one."""
    before = _turns(victim, "turn_ended")
    url = stage.service.urls()[0]

    def served() -> bool:
        return _turns(victim, "turn_ended") > before

    began = time.monotonic()
    while not served() and time.monotonic() - began < BEGIN_SECONDS:
        async with stage.guest(url, url, silence=10) as guest:
            await guest.say("say Here we are.")
            await stage.until("a turn ended", guest.turn_ended, BEGIN_SECONDS)
    stage.expect(f"{victim.name} serves again", served())


def _turns(worker: HostPart, event: str) -> set[str]:
    return {str(line.fields["turn_id"]) for line in worker.said(event)}
