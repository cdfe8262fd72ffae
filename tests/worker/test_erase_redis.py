"""Which keys of Redis are somebody's, and which only look like it."""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from uuid import UUID

import pytest

from cli.erase import Target, erase
from cli.erase_redis import keys_of_owner, left_in_redis, names_owner
from shared.db import Database
from shared.ids import new_id
from shared.jobs import BELL, HEARD, PARKED
from shared.publisher import live_key
from shared.redis import QUEUE, Redis
from shared.settings import Settings
from tests.fixtures.belongings import fill

pytestmark = pytest.mark.anyio


def test_a_key_belongs_to_the_owner_it_is_named_after_and_to_no_other() -> None:
    for key in keys_of_owner("alice").values():
        assert names_owner(key, "alice")
        assert not names_owner(key, "lice")
    for key in keys_of_owner("x:alice").values():
        assert not names_owner(key, "alice")
    assert names_owner("parley:new:alice", "alice")
    assert not names_owner("parley:new:malice", "alice")


@pytest.mark.parametrize(
    "key",
    [
        *(QUEUE, f"{QUEUE}:health-check", BELL, HEARD, "parley:limit:address:127.0.0.1"),
        *("arq:job:7f", "arq:in-progress:7f", "arq:retry:7f", live_key(UUID(int=7))),
    ],
)
def test_a_key_of_the_service_belongs_to_nobody_who_is_called_the_same(key: str) -> None:
    assert not names_owner(key, key.rpartition(":")[2])


async def test_the_receipt_of_somebody_called_like_a_key_of_the_service_is_clean(
    db: Database, redis: Redis, settings: Settings
) -> None:
    await fill(db, redis, "heard")
    await redis.set(HEARD, 7)
    receipt = await erase(settings, Target(user="heard"))
    assert receipt.clean, receipt
    assert await redis.get(HEARD) == b"7"


async def test_a_conversation_whose_row_is_gone_is_found_in_the_lists_and_taken_off_them(
    redis: Redis, settings: Settings
) -> None:
    gone, other = new_id(), new_id()
    await redis.zadd(PARKED + "bob", {str(gone): 1.0, str(other): 2.0})
    await redis.execute_command("SADD", "parley:new", str(gone))
    assert await left_in_redis(redis, owner=None, ids=[gone]) == {"parley:parked": 1, "parley": 1}
    await redis.delete("parley:new")
    receipt = await erase(settings, Target(conversation=gone))
    assert receipt.clean, receipt
    assert receipt.redis["parked"] == 1
    assert await redis.zrange(PARKED + "bob", 0, -1) == [str(other).encode()]
