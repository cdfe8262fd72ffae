"""Who asks too much is told to wait: `Limits.require` is a guard behind the token's, `Limited` the
layer around the application that counts what no guard came to see.

What is limited and how stands in docs/limits.md; a limit of 0 is none.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, cast

from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import json

from api.address import Clients
from api.auth import PUBLIC, Connection
from api.counting import STREAM_SECONDS, WINDOW_SECONDS, Count, Counting, Stream, Verdict, Window
from api.errors import PROBLEM_JSON, problem_of
from shared.errors import TooManyRequests, TooManyStreams
from shared.ids import new_id
from shared.metrics import LIMITED
from shared.redis import Redis
from shared.settings import Settings

IS_MESSAGE = "is_message"
"""In a handler's `opt`: the request makes the agent work."""
OPENS_STREAM = "opens_stream"
RENEW_SECONDS = STREAM_SECONDS // 3
VISIT = "parley.visit"
HEALTH = frozenset({"/health", "/health/ready", "/metrics"})
"""Whoever looks after us is not refused for what comes through the same proxy."""


class Visit:
    """What is known of one request's limits."""

    __slots__ = ("address", "counted", "stream", "tightest")

    def __init__(self, address: str) -> None:
        self.address = address
        self.counted = False
        self.tightest: Count | None = None
        self.stream: Stream | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """draft-ietf-httpapi-ratelimit-headers, of the limit that is nearest."""
        found = self.tightest
        if found is None:
            return []
        policy = f'"{found.window.name}";q={found.window.most};w={WINDOW_SECONDS}'
        left = f'"{found.window.name}";r={found.remaining};t={found.seconds_left}'
        return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]


class Limits:
    def __init__(self, settings: Settings, redis: Redis) -> None:
        """Raises SettingsError where a trusted proxy is none."""
        self._settings = settings
        self._clients = Clients(settings)
        self._counting = Counting(redis)
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Renews the open streams until cancelled; at once those that Redis could not be told."""
        await self._counting.begin()
        for seconds in count(1):
            await asyncio.sleep(1)
            if self._counting.untold or seconds % RENEW_SECONDS == 0:
                await self._counting.renew()

    async def close(self) -> None:
        """Once what was left has been told to Redis."""
        await asyncio.gather(*self._leaving)
        await self._counting.end()

    async def require(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard. Raises TooManyRequests or TooManyStreams."""
        scope = cast("dict[str, Any]", connection.scope)
        if handler.opt.get(PUBLIC) or scope["method"] == "OPTIONS":
            return
        visit: Visit = scope[VISIT]
        owner: str = scope["user"].owner
        if handler.opt.get(OPENS_STREAM) and (most := self._settings.parley_limit_streams):
            visit.stream = Stream(f"parley:limit:streams:{owner}", new_id().hex, most)
        is_message = bool(handler.opt.get(IS_MESSAGE))
        windows = [*self._by_owner(owner, is_message=is_message), *self._by_address(visit)]
        verdict = await self._spend(visit, windows, visit.stream)
        if verdict.full is not None:
            raise refusal(verdict.full)
        if verdict.too_many_streams:
            LIMITED.labels("streams").inc()
            raise TooManyStreams(f"There may be {self._settings.parley_limit_streams} at once.")

    def knows_better(self, visit: Visit) -> TooManyRequests | None:
        """Whether there is no need to look at its token any more: that may cost a look into
        Postgres.
        """
        full = next(filter(None, map(self._counting.known_full, self._by_address(visit))), None)
        visit.tightest = full
        return refusal(full) if full is not None else None

    async def refuses(self, visit: Visit) -> TooManyRequests | None:
        """Counts a request of nobody in particular."""
        verdict = await self._spend(visit, self._by_address(visit))
        return refusal(verdict.full) if verdict.full is not None else None

    def visit(self, scope: HTTPScope) -> Visit:
        return Visit(self._clients.address(scope))

    def leave(self, stream: Stream) -> None:
        task = asyncio.create_task(self._counting.leave(stream))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _spend(
        self, visit: Visit, windows: list[Window], stream: Stream | None = None
    ) -> Verdict:
        visit.counted = True
        verdict = await self._counting.spend(windows, stream)
        visit.tightest = verdict.tightest
        return verdict

    def _by_owner(self, owner: str, *, is_message: bool) -> list[Window]:
        requests = self._settings.parley_limit_requests_per_minute
        messages = self._settings.parley_limit_messages_per_minute
        found = [Window("requests", f"parley:limit:requests:{owner}", requests)] if requests else []
        if is_message and messages:
            found.append(Window("messages", f"parley:limit:messages:{owner}", messages))
        return found

    def _by_address(self, visit: Visit) -> list[Window]:
        most = self._settings.parley_limit_address_requests_per_minute
        return [Window("address", f"parley:limit:address:{visit.address}", most)] if most else []


class Limited:
    """Answers tell of the limits. A request that was refused before a guard could count it, for
    its token or because there is no such route, counts for its address.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = self._limits.visit(scope)
        cast("dict[str, Any]", scope)[VISIT] = visit
        known = None if asks_for_health(scope) else self._limits.knows_better(visit)
        if known is not None:
            await _refuse(known, visit, send)
            return
        refused = False

        async def tell(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                if not visit.counted and 400 <= message["status"] < 500:
                    refusal = await self._limits.refuses(visit)
                    if refusal is not None:
                        refused = True
                        await _refuse(refusal, visit, send)
                        return
                message["headers"] = [*message["headers"], *visit.headers()]
            if not refused:
                await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if visit.stream is not None:
                self._limits.leave(visit.stream)


def asks_for_health(scope: HTTPScope) -> bool:
    """By another method it gets no answer that is worth a look at its token."""
    return scope["method"] == "GET" and scope["path"].rstrip("/") in HEALTH


def refusal(full: Count) -> TooManyRequests:
    window = full.window
    LIMITED.labels(window.name).inc()
    detail = f"There may be {window.most} in {WINDOW_SECONDS} seconds ({window.name})."
    return TooManyRequests(detail, retry_after=max(1, full.seconds_left))


async def _refuse(error: TooManyRequests, visit: Visit, send: Send) -> None:
    body = json.encode(problem_of(error))
    headers = [
        (b"content-type", PROBLEM_JSON.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(error.retry_after).encode()),
        *visit.headers(),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
