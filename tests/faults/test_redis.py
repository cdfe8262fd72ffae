"""Whatever Redis does, messages are accepted, turns run, streams stay open and go live again."""

from __future__ import annotations

import pytest

from tests.fixtures.following import answered, following, streaming
from tests.fixtures.fragile import Fragile, FragileRedis

pytestmark = pytest.mark.anyio

HARMS = {
    "killed": FragileRedis.kill,
    "restarted": FragileRedis.restart,
    "frozen": FragileRedis.freeze,
    "emptied": FragileRedis.empty,
    "full": FragileRedis.fill,
    "refusing connections": FragileRedis.refuse,
}
IDLE_SECONDS = 8.0
"""An idle viewer looks at the rows every 10 s while Redis is well: that would be too late."""


@pytest.mark.parametrize("harm", HARMS)
async def test_whatever_happens_to_redis_answers_arrive_and_streams_stay(
    fragile: Fragile, harm: str
) -> None:
    service, gate = fragile.service, fragile.service.stand_in
    busy, idle = await service.conversation(), await service.conversation()
    usual = await fragile.seconds_to_say(idle, "say before")
    async with following(service, busy) as answering, following(service, idle) as waiting:
        await waiting.until(answered("before"))
        await service.say(busy, "gated First then the rest")
        await answering.until(streaming("First "))
        HARMS[harm](fragile.redis)
        assert await fragile.seconds_to_say(idle, "say meanwhile") < usual + 1
        gate.open_gate()
        await answering.until(answered("First then the rest"))
        await waiting.until(answered("before", "meanwhile"), seconds=IDLE_SECONDS)
        fragile.redis.heal()
        gate.close_gate()
        await service.say(busy, "gated Again and on")
        # Only Redis knows what is not committed yet.
        await answering.until(streaming("Again "))
        gate.open_gate()
        await answering.until(answered("First then the rest", "Again and on"))


async def test_a_frozen_redis_does_not_hold_up_every_step_of_a_turn(fragile: Fragile) -> None:
    """Eight commits, each of which would wait for half a second."""
    steps = "again list_tasks {} " * 3
    service = fragile.service
    conversation_id = await service.conversation()
    usual = await fragile.seconds_to_run(conversation_id, steps)
    fragile.redis.freeze()
    assert await fragile.seconds_to_run(conversation_id, steps) < usual + 2
