"""Whatever Redis does, messages are accepted, turns run, streams stay open and go live again."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from pydantic import SecretStr

from cli.embedded import Service as Server
from shared.redis import PROMPT_SECONDS, connect_redis
from shared.settings import Settings
from tests.fixtures.following import answered, following, streaming
from tests.fixtures.fragile import Fragile, FragileRedis

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

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
"""Nobody else says anything that would send an idle viewer to the rows: the lookout must."""


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


async def test_a_frozen_redis_keeps_no_connection_of_ours(
    settings: Settings, own_valkey: Server
) -> None:
    here = {"redis_url": SecretStr(own_valkey.url)}
    redis = connect_redis(settings.model_copy(update=here))
    clock = asyncio.get_running_loop().time
    async with redis.pipeline() as pipe:
        await pipe.watch("key")
        os.kill(own_valkey.pid, signal.SIGSTOP)
        began = clock()
        with pytest.raises(TimeoutError):
            async with redis.promptly():
                await pipe.exists("key")
    assert clock() - began < 2 * PROMPT_SECONDS
    assert redis.connection_pool._in_use_connections == set()  # pyright: ignore[reportPrivateUsage]
    await redis.aclose(close_connection_pool=True)
