"""Redis: nothing in it is needed for long, so that few of its faults are failures."""

# redis-py leaves its replies untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from cli.doctor_findings import (
    CHECK_SECONDS,
    Finding,
    counted,
    failure,
    kind_of,
    ok,
    sized,
    unknown,
    warning,
)
from cli.doctor_postgres import CLOSE_SECONDS, Now, compared
from shared.redis import QUEUE, REDIS_ERRORS, Redis, connect_redis
from shared.settings import Settings

OLDEST = 7
NEARLY_FULL = 0.9
AWAY = "Redis is away"
NEEDS_REDIS = ("redis memory", "rings", "redis clock")
REMEDIES = {
    "AuthenticationError": "Correct the user and the password in REDIS_URL.",
    "NoPermissionError": "Give the user of REDIS_URL the rights in docs/services.md, and INFO.",
    "BusyLoadingError": "Wait until Redis has loaded its data.",
}
START = "Start Redis, or correct REDIS_URL: until then turns begin up to a second later."


async def examine_redis(settings: Settings, *, now: Now = time.time) -> list[Finding]:
    """`now` is this machine's clock."""
    where = place_of(settings.redis_url.get_secret_value())
    redis = connect_redis(settings)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await ask(redis, where, now)
    except REDIS_ERRORS as error:
        return away(f"{where} can't be used ({kind_of(error)})", error)
    finally:
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(CLOSE_SECONDS):
                await redis.aclose(close_connection_pool=True)


def away(said: str, error: BaseException) -> list[Finding]:
    remedy = REMEDIES.get(kind_of(error), START)
    return [failure("redis", said, remedy), *(unknown(name, AWAY) for name in NEEDS_REDIS)]


async def ask(redis: Redis, where: str, now: Now) -> list[Finding]:
    info: Mapping[str, Any] = await redis.info()
    rings: int = await redis.zcard(QUEUE)
    before = now()
    seconds, micros = await redis.time()
    apart = seconds + micros / 1e6 - (before + now()) / 2
    return [
        check_server(info, where),
        check_memory(info),
        ok("rings", f"{counted(rings, 'ring')}, with those of turns that run"),
        compared("redis clock", apart, "Redis'"),
    ]


def check_server(info: Mapping[str, Any], where: str) -> Finding:
    valkey = info.get("valkey_version")
    version = str(info.get("redis_version", "0"))
    said = f"{'Valkey' if valkey else 'Redis'} {valkey or version} at {where}"
    if not valkey and int(version.partition(".")[0]) < OLDEST:
        return failure("redis", said, f"Upgrade Redis to {OLDEST} or newer, or take Valkey.")
    if info.get("role") in ("slave", "replica"):
        remedy = "Name the primary in REDIS_URL: a replica takes no rings."
        return failure("redis", f"{said} is a replica", remedy)
    return ok("redis", said)


def check_memory(info: Mapping[str, Any]) -> Finding:
    """Redis that drops rings or counts by itself loses nothing for good: turns begin later."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    said = f"{sized(used)} of {sized(most) if most else 'no limit'}, {policy}"
    if most and used >= most * NEARLY_FULL and policy == "noeviction":
        remedy = "Raise maxmemory: when it is full no ring and no live text gets through."
        return failure("redis memory", said, remedy)
    if policy != "noeviction":
        remedy = "Set maxmemory-policy noeviction: rings and limits may be dropped at any moment."
        return warning("redis memory", said, remedy)
    return ok("redis memory", said)


def place_of(url: str) -> str:
    """Host and port, or the socket: nothing else of the address is shown."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    except ValueError:
        return "Redis"
