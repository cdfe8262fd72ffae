"""How many turns of one owner run at once: exactly so many, whoever claims them."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.errors import OwnerAtLimit, Unavailable
from shared.redis import Redis, end
from shared.store.claims import Claim, claim, give_back
from shared.store.waiting import conversations_to_run
from tests.fixtures.interruptions import let_lease_run_out
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until
from worker.queue import ring_worker
from worker.turn import Turns

pytestmark = pytest.mark.anyio


async def take(desk: Desk, worker: Turns, conversation_id: UUID, limit: int) -> Claim | None:
    """Tried again where there is no connection for it, as a ring would be swept."""
    try:
        return await _take(desk, worker, conversation_id, limit)
    except Unavailable:
        return await take(desk, worker, conversation_id, limit)


async def _take(desk: Desk, worker: Turns, conversation_id: UUID, limit: int) -> Claim | None:
    async with desk.db.transaction(EVERYONE) as tx:
        return await claim(
            tx, conversation_id, worker_id=worker.worker_id, model="test", running_limit=limit
        )


async def questions(desk: Desk, count: int, owner: str = "alice") -> list[UUID]:
    """Each in a conversation of its own."""
    desk.owner = owner
    found = [await desk.conversation() for _ in range(count)]
    for conversation_id in found:
        await desk.say(conversation_id, "say hello")
    desk.owner = "alice"
    return found


async def grown_old(desk: Desk) -> None:
    """The sweep leaves alone what may still be rung for."""
    async with desk.db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE turns SET created_at = created_at - interval '5 s'"))


async def swept(desk: Desk, *, limit: int = 9, running_limit: int = 0) -> list[UUID]:
    async with desk.db.transaction(EVERYONE) as tx:
        return await conversations_to_run(tx, limit=limit, running_limit=running_limit)


async def test_of_twenty_claims_at_once_as_many_succeed_as_may(desk: Desk) -> None:
    waiting = await questions(desk, 20)
    others = await questions(desk, 1, "bob")
    worker = await desk.worker()
    claims = (take(desk, worker, conversation_id, 7) for conversation_id in waiting + others)
    found = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(one, Claim) and one.owner == "alice" for one in found) == 7
    refused = [one for one in found if isinstance(one, BaseException)]
    assert [type(one) for one in refused] == [OwnerAtLimit] * 13
    assert isinstance(found[-1], Claim)
    async with desk.db.snapshot(EVERYONE) as tx:
        states = "SELECT count(*) FROM turns WHERE status = 'queued' AND position = 1"
        assert await tx.scalar(text(states)) == 13


async def test_a_takeover_begins_nothing_new_and_is_not_held_up(desk: Desk) -> None:
    first, second = await questions(desk, 2)
    silent = await desk.worker()
    assert await take(desk, silent, first, 1) is not None
    await let_lease_run_out(desk.db, silent)
    heir = await desk.worker()
    with pytest.raises(OwnerAtLimit):
        await take(desk, heir, second, 1)
    taken = await take(desk, heir, first, 1)
    assert taken is not None
    assert taken.turn.attempt == 2


async def test_what_nobody_has_counts_for_nothing_and_waits_like_any_other(desk: Desk) -> None:
    """As after an approval: any number of turns can be approved at the same moment."""
    first, second = await questions(desk, 2)
    worker = await desk.worker()
    claimed = await take(desk, worker, first, 1)
    assert claimed is not None
    async with desk.db.transaction(EVERYONE) as tx:
        await give_back(tx, claimed.turn.id, 1, worker_id=worker.worker_id)
    await grown_old(desk)
    assert await swept(desk, running_limit=1) == [first]
    assert await take(desk, worker, second, 1) is not None
    assert await swept(desk, running_limit=1) == []
    with pytest.raises(OwnerAtLimit):
        await take(desk, worker, first, 1)


async def test_a_turn_whose_worker_died_is_not_counted_twice(desk: Desk) -> None:
    first, second = await questions(desk, 2)
    worker = await desk.worker()
    assert await take(desk, worker, first, 2) is not None
    await grown_old(desk)
    await let_lease_run_out(desk.db, worker)
    assert set(await swept(desk, running_limit=2)) == {first, second}


async def test_what_had_to_wait_is_rung_for_when_a_turn_of_the_owner_ends(
    desk: Desk, redis: Redis
) -> None:
    """Nothing is swept: the bell alone must do."""
    waiting = await questions(desk, 4)
    worker = await desk.worker(parley_limit_running_turns=1, parley_max_turns=3)
    for conversation_id in waiting:
        assert await desk.jobs.ring(conversation_id, "alice")

    async def all_ended() -> bool:
        async with desk.db.snapshot(EVERYONE) as tx:
            return not await tx.scalar(
                text("SELECT count(*) FROM turns WHERE status <> 'completed'")
            )

    settings = desk.settings.model_copy(update={"parley_max_turns": 3})
    queue = ring_worker(settings, redis, worker.run_all)
    working = asyncio.create_task(queue.async_run())
    await until(all_ended)
    await end(working)
    await asyncio.gather(*queue.tasks.values())


async def test_the_sweep_leaves_an_owner_alone_who_has_as_many_as_may(desk: Desk) -> None:
    waiting = await questions(desk, 4)
    others = await questions(desk, 1, "bob")
    worker = await desk.worker()
    assert await take(desk, worker, waiting[0], 0) is not None
    await grown_old(desk)
    assert await swept(desk, running_limit=1) == others
    assert await swept(desk, running_limit=2) == [*others, waiting[1]]
    await let_lease_run_out(desk.db, worker)
    assert set(await swept(desk, running_limit=1)) == {waiting[0], *others}


async def test_in_the_sweep_owners_take_turns_and_who_has_fewest_begins(desk: Desk) -> None:
    alices = await questions(desk, 4)
    bobs = await questions(desk, 2, "bob")
    assert await take(desk, await desk.worker(), alices[0], 0) is not None
    await grown_old(desk)
    assert await swept(desk) == [bobs[0], alices[1], bobs[1], alices[2], alices[3]]
    assert await swept(desk, limit=1) == bobs[:1]
