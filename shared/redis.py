"""Redis clients that fail fast: nothing here may make a caller wait for long."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.settings import Settings

QUEUE = "parley:queue"
REDIS_ERRORS = (RedisError, OSError, TimeoutError)
SOCKET_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 1.0
CANCEL_AGAIN_SECONDS = 0.1


def serialize_job(job: dict[str, Any]) -> bytes:
    return msgspec.json.encode(job)


def deserialize_job(data: bytes) -> dict[str, Any]:
    """JSON, never pickle: what stands in Redis must not be able to run."""
    job: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    return job


def connect_redis(settings: Settings) -> ArqRedis:
    """Connects lazily. A connection that Redis closed meanwhile is replaced once, at once."""
    pool: ConnectionPool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.redis_url.get_secret_value(),
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
        max_connections=100,
    )
    return ArqRedis(
        pool_or_conn=pool,
        default_queue_name=QUEUE,
        job_serializer=serialize_job,
        job_deserializer=deserialize_job,
    )


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels until they are done: while redis-py connects, it may swallow a cancellation."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
