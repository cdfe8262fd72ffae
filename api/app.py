"""The application: every route, handler and resource, in one place. Read this first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
from litestar import Litestar

from api.auth import Doors
from api.browsers import Browsers
from api.deps import dependencies
from api.edge import Edge
from api.errors import handle_error
from api.keys import Keys
from api.limits import Limited, Limits
from api.lookout import Lookout
from api.measuring import Measuring
from api.migrated import Migrated
from api.openapi import openapi_config
from api.request import JsonRequest, refuse_unknown_parameters
from api.routes import (
    chatkit,
    conversations,
    events,
    export,
    feedback,
    health,
    legacy,
    mcp,
    messages,
    metrics,
    search,
    sessions,
    tasks,
    tickets,
    turns,
    web,
)
from api.standing import Standing
from api.strength import refuse_open_doors
from api.telling import settled
from api.web_files import PAGE, WebFiles
from shared import VERSION
from shared.db import Database
from shared.feed import Feed
from shared.jobs import Jobs
from shared.log import on_stray_error
from shared.redis import connect_redis, end
from shared.settings import Settings
from shared.store.sessions import session_table

log = structlog.get_logger()

CLOSE_SECONDS = 1.0


def create_app(settings: Settings, page: Path = PAGE) -> Litestar:
    """`page` is the folder of the built web client.

    Raises SettingsError where the settings would make an unsafe service.
    """
    refuse_open_doors(settings)
    browsers = Browsers(settings)
    table = session_table(settings)
    db = Database(settings)
    standing = Standing(db, table)
    keys = Keys(settings.parley_jwks_url) if settings.parley_jwks_url else None
    migrated = Migrated(db)
    doors = Doors(settings, db, keys, standing)
    redis = connect_redis(settings)
    feed = Feed(redis)
    limits = Limits(settings, redis)

    @asynccontextmanager
    async def resources(_: Litestar) -> AsyncGenerator[None]:
        """Postgres and Redis may come later than we do: nothing is asked of them here."""
        asyncio.get_running_loop().set_exception_handler(on_stray_error)
        listening = asyncio.create_task(feed.listen())
        looking = asyncio.create_task(Lookout(db, feed, standing).run())
        renewing = asyncio.create_task(limits.run())
        fetching = [asyncio.create_task(keys.run())] if keys else []
        try:
            yield
        finally:
            await end(listening, looking, renewing, *fetching)
            # What doesn't answer any more must not keep us from ending.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await settled()
                    if keys:
                        await keys.aclose()
                    await limits.close()
                    await redis.aclose(close_connection_pool=True)
                    await db.close()

    app = Litestar(
        route_handlers=[
            health.router,
            metrics.router,
            conversations.router,
            messages.router,
            events.router,
            tickets.router,
            turns.router,
            tasks.router,
            mcp.router,
            chatkit.router,
            search.router,
            export.router,
            feedback.router,
            legacy.of_token,
            legacy.of_user,
            sessions.router,
            web.router,
        ],
        lifespan=[resources],
        guards=[migrated.require, doors.require, limits.require, refuse_unknown_parameters],
        dependencies=dependencies(
            settings=settings,
            db=db,
            redis=redis,
            feed=feed,
            limits=limits,
            measuring=Measuring(settings, db=db, redis=redis),
            jobs=Jobs(redis),
            jar=doors.cookies,
            web_files=WebFiles(page),
        ),
        after_exception=[doors.require_without_route],
        exception_handlers={Exception: handle_error},
        request_class=JsonRequest,
        request_max_body_size=settings.parley_max_body_bytes,
        openapi_config=openapi_config(VERSION),
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = Edge(Limited(app.asgi_handler, limits), browsers)
    return app
