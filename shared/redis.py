"""Redis clients that fail fast: nothing here may make a caller wait for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.addresses import RedisAddress, redis_address
from shared.metrics import REDIS_ERRORS as REDIS_FAILURES
from shared.settings import Settings

QUEUE = "parley:queue"
REDIS_ERRORS = (RedisError, OSError, TimeoutError)
SOCKET_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 1.0
# A sentinel that doesn't answer must leave time to ask the next one within PROMPT_SECONDS.
SENTINEL_SECONDS = 0.25
CANCEL_AGAIN_SECONDS = 0.1
# Less than the half second that a request has for all it tells (`api/actions.py`).
PROMPT_SECONDS = 0.4
AWAY_SECONDS = 1.0


class PromptPipeline(Pipeline):
    """Left in the middle of a WATCH, redis-py's asks Redis to forget it, for as long as Redis is
    silent, and loses the connection if the answer doesn't come. This one hangs up.
    """

    async def reset(self) -> None:
        if self.watching and self.connection is not None:
            await self.connection.disconnect(nowait=True)
            self.watching = False
        await super().reset()


class Redis(ArqRedis):
    """The one client of a process."""

    _away_until = 0.0

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pool = cast("ConnectionPool", self.connection_pool)
        return PromptPipeline(pool, self.response_callbacks, transaction, shard_hint)

    @asynccontextmanager
    async def promptly(self) -> AsyncGenerator[None]:
        """Half a second at most for what may as well fail; raises one of REDIS_ERRORS.

        While Redis is away one caller a second finds out whether it still is. The others fail at
        once: a turn of many steps must not wait at each of them. An error that Redis itself
        answers is no absence.
        """
        now = time.monotonic()
        if now < self._away_until:
            raise RedisConnectionError("Redis was away a moment ago")
        if self._away_until:
            self._away_until = now + AWAY_SECONDS
        try:
            async with asyncio.timeout(PROMPT_SECONDS):
                yield
        except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError):
            self._away_until = time.monotonic() + AWAY_SECONDS
            REDIS_FAILURES.inc()
            raise
        self._away_until = 0.0


def serialize_job(job: dict[str, Any]) -> bytes:
    return msgspec.json.encode(job)


def deserialize_job(data: bytes) -> dict[str, Any]:
    """JSON, never pickle: what stands in Redis must not be able to run."""
    job: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    return job


class MastersPool(SentinelConnectionPool):
    """Connections to whatever the sentinels call the master at the time."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Those to the sentinels too, at the end; redis-py leaves them open."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in cast("Sentinel", self.sentinel_manager).sentinels:
                await sentinel.aclose()


def connect_redis(settings: Settings) -> Redis:
    """Connects lazily. A connection that Redis closed meanwhile is replaced once, at once.

    Raises ValueError where REDIS_URL can't be one.
    """
    address = redis_address(settings.redis_url.get_secret_value())
    return Redis(
        pool_or_conn=_pool(
            address,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RedisConnectionError],
            max_connections=100,
            # They would be told to Redis on each connection, which a user may not be allowed to.
            lib_name=None,
            lib_version=None,
        ),
        default_queue_name=QUEUE,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
    )


def _pool(address: RedisAddress, **options: Any) -> ConnectionPool:
    if not address.sentinels:
        pool: ConnectionPool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            address.url, **options, **address.tls
        )
        return pool
    secure = {"ssl": True, **address.tls} if address.tls else {}
    times = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    sentinel = Sentinel(
        address.sentinels, sentinel_kwargs={**times, **secure, **address.sentinel_login}
    )
    found = cast("dict[str, Any]", parse_url(address.url))
    login = {name: found[name] for name in ("username", "password", "db") if name in found}
    return MastersPool(address.service, sentinel, **login, **secure, **options)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels until they are done: while redis-py connects, it may swallow a cancellation."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
