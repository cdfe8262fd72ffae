"""A browser's session: a bearer token once, a cookie from then on."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from litestar import Response, Router, delete, get, post

from api.auth import PUBLIC, Principal
from api.cookies import Cookies, hash_of, new_secret
from api.deps import Configured, Db, Jar, Owned
from api.launcher import launcher_user
from api.openapi import BEARER, described, problems
from api.request import JsonRequest
from api.samples import SESSION
from api.wire import Session
from shared.db import Database
from shared.errors import InvalidRequest, Unauthorized
from shared.store.browser_sessions import end_session, open_session

ENDLESS_FOR = timedelta(hours=12)
"""How long a session lasts that was made from a token without an end."""


@post(
    "/",
    summary="Open a browser session",
    description="Takes a bearer token and answers with a cookie that does the same from then on, "
    "until the token expires. It also ends with the session that the token belongs to.",
    security=[{BEARER: []}],
    responses=described({201: ("It is open; `Set-Cookie` brings its id.", Session, SESSION)})
    | problems(InvalidRequest),
)
async def open_(request: JsonRequest, principal: Owned, db: Db, jar: Jar) -> Response[Session]:
    expires_at = principal.expires_at or datetime.now(UTC) + ENDLESS_FOR
    # A cookie must not beget cookies: each would outlive the end of the one before.
    if principal.access.browser_session is not None or principal.expired:
        raise Unauthorized
    return await _opened(request, db, jar, principal, expires_at)


@post(
    "/launcher",
    opt={PUBLIC: True},
    summary="Open a browser session under `parley up`",
    description="The page's way in on the machine that `parley up` runs on, in development only: "
    "for a browser on that machine, on a page from there. Everywhere else, and to everybody else, "
    "it is 401.",
    security=[{}],
    responses=described({201: ("It is open; `Set-Cookie` brings its id.", Session, SESSION)})
    | problems(InvalidRequest),
)
async def launch(request: JsonRequest, settings: Configured, db: Db, jar: Jar) -> Response[Session]:
    principal = Principal(launcher_user(settings, jar, request), None)
    return await _opened(request, db, jar, principal, datetime.now(UTC) + ENDLESS_FOR)


async def _opened(
    request: JsonRequest, db: Database, jar: Cookies, principal: Principal, expires_at: datetime
) -> Response[Session]:
    session_id = new_secret()
    async with db.transaction(principal.owner) as tx:
        await open_session(
            tx,
            hash_of(session_id),
            owner=principal.owner,
            session_id=principal.access.session_id,
            expires_at=expires_at,
        )
    return Response(
        Session(principal.owner, expires_at),
        status_code=201,
        cookies=[jar.make(request, session_id, expires_at)],
    )


@get(
    "/",
    summary="Who am I?",
    description="The owner that the token or the cookie stands for, and until when.",
    responses=described({200: ("The owner.", Session, SESSION)}) | problems(InvalidRequest),
)
async def show(principal: Owned) -> Session:
    return Session(principal.owner, principal.expires_at)


@delete(
    "/",
    status_code=204,
    summary="Log out",
    description="Ends the session in the cookie and clears the cookie; its streams are closed. A "
    "bearer token stays as good as it was.",
    responses=described({204: ("There is no session any more.", None, None)})
    | problems(InvalidRequest),
)
async def end(request: JsonRequest, principal: Owned, db: Db, jar: Jar) -> Response[None]:
    """Where a token came too the cookie's session ends all the same, if it is the same owner's.
    A cookie that is none of ours is cleared as well: no page can do that.
    """
    id_hash = None
    with suppress(Unauthorized):
        id_hash = jar.read(request)
    if id_hash is not None:
        async with db.transaction(principal.owner) as tx:
            await end_session(tx, id_hash, owner=principal.owner)
    return Response(None, status_code=204, cookies=[jar.clear(request)])


router = Router("/api/session", route_handlers=[open_, launch, show, end], tags=["access"])
