"""What Redis holds of an owner or of conversations: which keys that are, and that they go."""

# redis-py leaves its replies untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from typing import Any, cast
from uuid import UUID

import msgspec
from arq.constants import (
    health_check_key_suffix,
    in_progress_key_prefix,
    job_key_prefix,
    retry_key_prefix,
)

from shared.jobs import BELL, HEARD, PARKED, RUNG
from shared.publisher import SILENCED, live_key
from shared.redis import QUEUE, Redis

CHUNK = 500
JOB_KEYS = (job_key_prefix, in_progress_key_prefix, retry_key_prefix)
OURS = "parley:"
NAMED_OTHERWISE = (*JOB_KEYS, f"{OURS}limit:address:", f"{OURS}live:")
"""Keys that are named after something else than an owner, who may be called the same."""
OF_THE_SERVICE = {QUEUE, QUEUE + health_check_key_suffix, BELL, HEARD}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Counts = Counter[str]


def keys_of_owner(owner: str) -> dict[str, str]:
    """Every key that is named after an owner: what it counts as, and its name."""
    return {
        "limit:requests": f"parley:limit:requests:{owner}",
        "limit:messages": f"parley:limit:messages:{owner}",
        "limit:streams": f"parley:limit:streams:{owner}",
        "rung": RUNG + owner,
        "parked": PARKED + owner,
    }


def keys_of_conversation(conversation_id: UUID) -> dict[str, str]:
    """The same for a conversation. Its rings have names of their own: `rings_of` finds them."""
    return {"live_text": live_key(conversation_id)}


async def erase_in_redis(redis: Redis, *, owner: str | None, ids: Collection[UUID]) -> Counts:
    """Deletes the keys of the owner, if one is erased, and of the conversations; takes those off
    everybody's lists: whose they were may not be known any more.
    """
    gone: Counts = Counter()
    named = list(keys_of_owner(owner).items()) if owner is not None else []
    for conversation_id in ids:
        named += keys_of_conversation(conversation_id).items()
    for kind, key in named:
        if await redis.type(key) != b"string" or await redis.get(key) != SILENCED:
            gone[kind] += int(await redis.delete(key))
    wanted = {str(found) for found in ids}
    async for key in _keys(redis, f"{PARKED}*"):
        for conversation_id in wanted & await _listed_in(redis, key):
            gone["parked"] += int(await redis.zrem(key, conversation_id))
    async for job_id in rings_of(redis, ids):
        gone["rings"] += int(await redis.zrem(QUEUE, job_id))
        await redis.delete(*(prefix + job_id for prefix in JOB_KEYS))
    return gone


async def rings_of(redis: Redis, ids: Collection[UUID]) -> AsyncGenerator[str]:
    """The jobs of the queue that name one of the conversations."""
    wanted = {str(found) for found in ids}
    async for key in _keys(redis, f"{job_key_prefix}*"):
        if wanted & _named_in(await redis.get(key)):
            yield key.decode().removeprefix(job_key_prefix)


async def left_in_redis(redis: Redis, *, owner: str | None, ids: Collection[UUID]) -> Counts:
    """What still names the owner or one of the conversations, in whatever key there is."""
    left: Counts = Counter()
    wanted = {str(found) for found in ids}
    async for raw in _keys(redis, "*"):
        key = raw.decode(errors="replace")
        value = await redis.get(raw) if await redis.type(raw) == b"string" else None
        if value == SILENCED:
            continue
        inside = _named_in(value) | await _listed_in(redis, raw)
        ours = wanted & (set(_UUID.findall(key)) | inside)
        if ours or (owner is not None and names_owner(key, owner)):
            left[key.rpartition(":")[0] or key] += 1
    for job_id in cast("list[bytes]", await redis.zrange(QUEUE, 0, -1)):
        if wanted & _named_in(await redis.get(job_key_prefix + job_id.decode())):
            left[QUEUE] += 1
    return left


def names_owner(key: str, owner: str) -> bool:
    """By its last part; an owner's name may have a colon in it, and so may another's."""
    for other in keys_of_owner("").values():
        if key.startswith(other):
            return key == other + owner
    if key in OF_THE_SERVICE or key.startswith(NAMED_OTHERWISE):
        return False
    return key.endswith(f":{owner}")


async def _keys(redis: Redis, pattern: str) -> AsyncGenerator[bytes]:
    found: Any
    async for found in redis.scan_iter(match=pattern, count=CHUNK):
        yield found


async def _listed_in(redis: Redis, key: bytes) -> set[str]:
    """The ids in a set of ours. Those of the queue are of rings, see `rings_of`."""
    members: Any = []
    if key.startswith(OURS.encode()) and key != QUEUE.encode():
        match await redis.type(key):
            case b"zset":
                members = await redis.zrange(key, 0, -1)
            case b"set":
                members = [member async for member in redis.sscan_iter(key)]
            case _:
                pass
    return set(_UUID.findall(b" ".join(members).decode(errors="replace")))


def _named_in(value: Any) -> set[str]:
    """The ids in a job or in the head of a text. What was said is not looked into."""
    if not isinstance(value, bytes):
        return set()
    try:
        job = msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return set(_UUID.findall(str(job)))
