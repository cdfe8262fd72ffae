"""Is it alive, and can it do its work?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from litestar import Response, Router, get

from api.auth import PUBLIC
from api.deps import Db, Redis
from api.openapi import described
from api.samples import READINESS
from api.wire import Health, Part, Readiness
from shared.connection import EVERYONE
from shared.db import Database
from shared.models import SCHEMA_REVISION
from shared.store.health import answers, is_enough, schema_revision
from shared.store.workers import count_alive

CHECK_SECONDS = 1.0


@get(
    "/health",
    summary="Is the process alive?",
    description="Touches nothing: it answers as long as the process does.",
    responses=described({200: ("It is.", Health, Health("ok"))}),
)
async def health() -> Health:
    return Health("ok")


@get(
    "/health/ready",
    summary="Can it do its work?",
    description="One entry per part. 503 if any of them is unavailable.",
    responses=described(
        {
            200: ("Every part is there.", Readiness, READINESS),
            503: (
                "A part is missing.",
                Readiness,
                Readiness(
                    "unavailable", READINESS.parts | {"redis": Part("unavailable", "TimeoutError")}
                ),
            ),
        }
    ),
)
async def ready(db: Db, redis: Redis) -> Response[Readiness]:
    async def ping() -> Part:
        await redis.ping()  # pyright: ignore[reportUnknownMemberType]
        return Part("ok")

    checks = {
        "postgres": lambda: _postgres(db),
        "redis": ping,
        "migrations": lambda: _migrations(db),
        "workers": lambda: _workers(db),
    }
    found = await asyncio.gather(*(_checked(check) for check in checks.values()))
    parts = dict(zip(checks, found, strict=True))
    if all(part.status == "ok" for part in found):
        return Response(Readiness("ready", parts))
    return Response(Readiness("unavailable", parts), status_code=503)


async def _checked(check: Callable[[], Awaitable[Part]]) -> Part:
    """Whatever goes wrong in a check is its answer."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except Exception as error:
        return Part("unavailable", type(error).__name__)


async def _postgres(db: Database) -> Part:
    async with db.snapshot(EVERYONE) as tx:
        await answers(tx)
    return Part("ok")


async def _migrations(db: Database) -> Part:
    async with db.snapshot(EVERYONE) as tx:
        revision = await schema_revision(tx)
    detail = f"revision {revision}, expected {SCHEMA_REVISION} or newer"
    return Part("ok" if is_enough(revision) else "unavailable", detail)


async def _workers(db: Database) -> Part:
    async with db.snapshot(EVERYONE) as tx:
        count = await count_alive(tx)
    return Part("ok" if count else "unavailable", f"{count} alive")


router = Router(
    "/", route_handlers=[health, ready], opt={PUBLIC: True}, security=[{}], tags=["health"]
)
