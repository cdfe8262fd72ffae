"""`parley doctor` on a Redis that is harmed."""

# redis-py says nothing of its types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import pytest
import redis

from cli.doctor_findings import State
from cli.doctor_redis import NEEDS_REDIS
from cli.embedded import Service
from tests.worker.test_doctor import redis_of

pytestmark = pytest.mark.anyio


async def test_what_can_be_wrong_with_redis(own_valkey: Service) -> None:
    admin = redis.Redis.from_url(own_valkey.url)
    assert (await redis_of(own_valkey.url))["redis memory"].state is State.ok
    admin.config_set("maxmemory-policy", "allkeys-lru")
    found = (await redis_of(own_valkey.url))["redis memory"]
    assert (found.state, "noeviction" in found.remedy) == (State.warning, True)
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "100kb")
    found = (await redis_of(own_valkey.url))["redis memory"]
    assert (found.state, "Raise maxmemory" in found.remedy) == (State.failure, True)
    admin.config_set("maxmemory", 0)
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    found = (await redis_of(own_valkey.url))["redis"]
    assert (found.state, "primary" in found.remedy) == (State.failure, True)
    admin.execute_command("REPLICAOF", "NO", "ONE")
    admin.config_set("requirepass", "right")
    found = (await redis_of(own_valkey.url.replace("://", "://:sesame@", 1)))["redis"]
    assert (found.state, "password in REDIS_URL" in found.remedy) == (State.failure, True)
    assert "sesame" not in str(found)
    admin.close()
    own_valkey.kill()
    told = await redis_of(own_valkey.url)
    assert (told["redis"].state, "Start Redis" in told["redis"].remedy) == (State.failure, True)
    assert {told[name].said for name in NEEDS_REDIS} == {"Redis is away"}
