"""The application: every route, handler and resource, in one place. Read this first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from litestar import Litestar
from litestar.config.cors import CORSConfig

from api.auth import Tokens
from api.deps import dependencies
from api.edge import Edge
from api.errors import error_handler
from api.lookout import Lookout
from api.openapi import openapi_config
from api.request import JsonRequest, refuse_unknown_parameters
from api.routes import conversations, events, health, legacy, messages, tasks, turns
from shared.db import Database
from shared.errors import SettingsError
from shared.feed import Feed
from shared.jobs import Jobs
from shared.log import on_stray_error
from shared.redis import connect_redis, end
from shared.settings import Settings

log = structlog.get_logger()

VERSION = "0.1.0"
CLOSE_SECONDS = 1.0
CORS_HEADERS = ["Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key"]


def create_app(settings: Settings) -> Litestar:
    """Raises SettingsError where the settings would make an unsafe service."""
    tokens = Tokens(settings)
    cors = _cors(settings)
    db = Database(settings)
    redis = connect_redis(settings)
    feed = Feed(redis)

    @asynccontextmanager
    async def resources(_: Litestar) -> AsyncGenerator[None]:
        """Postgres and Redis may come later than we do: nothing is asked of them here."""
        asyncio.get_running_loop().set_exception_handler(on_stray_error)
        listening = asyncio.create_task(feed.listen())
        looking = asyncio.create_task(Lookout(db, feed).run())
        try:
            yield
        finally:
            await end(listening, looking)
            # What doesn't answer any more must not keep us from ending.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await redis.aclose(close_connection_pool=True)
                    await db.close()

    app = Litestar(
        route_handlers=[
            health.router,
            conversations.router,
            messages.router,
            events.router,
            turns.router,
            tasks.router,
            legacy.of_token,
            legacy.of_user,
        ],
        lifespan=[resources],
        guards=[tokens.require, refuse_unknown_parameters],
        dependencies=dependencies(
            settings=settings, db=db, redis=redis, feed=feed, jobs=Jobs(redis)
        ),
        exception_handlers={Exception: error_handler(tokens.principal)},
        request_class=JsonRequest,
        request_max_body_size=settings.parley_max_body_bytes,
        cors_config=cors,
        openapi_config=openapi_config(VERSION),
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = Edge(app.asgi_handler)
    return app


def _cors(settings: Settings) -> CORSConfig | None:
    origins = settings.cors_origins
    if not origins:
        return None
    if any("*" in origin for origin in origins):
        raise SettingsError(["PARLEY_CORS_ORIGINS: name each origin, there are no wildcards"])
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=CORS_HEADERS,
        allow_credentials=True,
        expose_headers=["Location", "Retry-After", "X-Request-Id"],
    )
