"""The body of an event stream: replay from a cursor, follow, keep alive, close.

Order matters: subscribe, then read the rows, then the live text; what is told meanwhile waits in
the subscription and is sorted out by its numbers (`follower.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from typing import Any, TypeVar
from uuid import UUID

import anyio
import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.follower import BehindError, Cursor, Follower
from shared.access import Access
from shared.db import Database
from shared.errors import NotFound, Unavailable
from shared.events import ClosingReason, Event, StreamClosing
from shared.feed import NOTHING_SEEN, Feed, Subscription
from shared.publisher import MISSED, Changes, Delta, Missed, Told
from shared.redis import REDIS_ERRORS
from shared.settings import Settings
from shared.store.replay import Replay, replay

PING_SECONDS = 15
SHUTDOWN_GRACE_SECONDS = 4
"""For the last word on a busy machine; the server itself waits twice as long."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS = 2000
PAGE = 100
CATCH_UP_TRIES = 3

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


class EventStream:
    """One viewer of one conversation."""

    def __init__(
        self,
        *,
        db: Database,
        feed: Feed,
        conversation_id: UUID,
        owner: str,
        cursor: Cursor,
        shutdown: anyio.Event,
    ) -> None:
        self._shutdown = shutdown
        self._db = db
        self._feed = feed
        self._conversation_id = conversation_id
        self._owner = owner
        self._follower = Follower(cursor)
        self._behind = True
        """There may be rows that Postgres has not shown us yet."""
        self._lacks_text = False

    def brief(self, viewer: Subscription) -> None:
        """Says what the lookout must know of us."""
        viewer.seen = NOTHING_SEEN if self._behind else self._follower.cursor.seq
        viewer.lacks_text = self._lacks_text

    async def catch_up(self) -> AsyncGenerator[ServerSentEvent, None]:
        """The rows changed since the cursor, then the text in flight.

        Raises NotFound once the conversation is deleted. While Postgres or Redis is away its part
        is missing, and the lookout sends us again.
        """
        self._lacks_text = False
        for _ in range(CATCH_UP_TRIES):
            try:
                async for event in self._rows():
                    yield event
            except Unavailable:
                return
            if not self._follower.active:
                return
            try:
                live = await self._feed.ask_for_text(self._conversation_id)
                told = self._follower.on_live_text(live) if live is not None else None
            except BehindError:
                continue
            except REDIS_ERRORS:
                self._lacks_text = True
                return
            if told is not None:
                yield encode(*told)
            return

    async def _rows(self) -> AsyncGenerator[ServerSentEvent, None]:
        self._behind = True
        while self._behind:
            found = await self._unless_closing(self._look())
            if found is None:
                raise NotFound
            for told in self._follower.on_replay(found):
                yield encode(*told)
            self._behind = not found.complete

    async def _look(self) -> Replay | None:
        async with self._db.look(self._owner) as tx:
            return await replay(
                tx,
                self._conversation_id,
                owner=self._owner,
                since=self._follower.cursor.seq,
                limit=PAGE,
            )

    async def _unless_closing(self, work: Coroutine[Any, Any, T]) -> T:
        """Postgres may be away for longer than the server has left. Raises Unavailable then."""
        closing = asyncio.create_task(self._shutdown.wait())
        working = asyncio.create_task(work)
        try:
            await asyncio.wait({closing, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Unavailable
            return working.result()
        finally:
            working.cancel()
            closing.cancel()
            await asyncio.gather(working, closing, return_exceptions=True)

    async def follow(self, told: list[Told]) -> AsyncGenerator[ServerSentEvent, None]:
        """What the feed told; whatever is missing before it is read from the rows first."""
        for item in told:
            try:
                for event in self._take(item):
                    yield event
            except BehindError:
                async for event in self.catch_up():
                    yield event

    def _take(self, item: Told) -> Iterator[ServerSentEvent]:
        """One by one: what came before a gap is told before the error."""
        match item:
            case Changes(changes=changes):
                for told in self._follower.on_changes(changes):
                    yield encode(*told)
            case Delta():
                if (piece := self._follower.on_delta(item)) is not None:
                    yield encode(*piece)
            case Missed():
                raise BehindError


async def event_stream(
    *,
    db: Database,
    feed: Feed,
    conversation_id: UUID,
    owner: str,
    cursor: Cursor,
    expires_at: datetime | None,
    access: Access,
    lifetime: float,
    shutdown: anyio.Event,
) -> AsyncGenerator[ServerSentEvent, None]:
    """Ends by itself after `lifetime` seconds, at the token's expiry or once its session is ended,
    on deletion or shutdown, and where the viewer is too slow to be told everything live: it comes
    again and reads the rows. One that takes nothing at all can't be told anything; it is cut off
    (`routes/events.py`).
    """
    yield ServerSentEvent(comment="connected", retry=RETRY_MS, sep="\n")
    loop = asyncio.get_running_loop()
    token_left = (expires_at - datetime.now(UTC)).total_seconds() if expires_at else inf
    reason: ClosingReason = "lifetime" if lifetime < token_left else "unauthorized"
    deadline = loop.time() + min(lifetime, token_left)
    stream = EventStream(
        db=db,
        feed=feed,
        conversation_id=conversation_id,
        owner=owner,
        cursor=cursor,
        shutdown=shutdown,
    )
    async with feed.subscribe(conversation_id) as viewer, waking(viewer, shutdown):
        viewer.access = access
        try:
            async for event in stream.catch_up():
                yield event
            while (left := deadline - loop.time()) > 0 and not shutdown.is_set():
                stream.brief(viewer)
                told = await viewer.wait(left)
                if viewer.unauthorized or viewer.too_slow:
                    reason = "unauthorized" if viewer.unauthorized else "slow"
                    break
                async for event in stream.follow(told):
                    yield event
        except NotFound:
            reason = "deleted"
    yield closing("shutdown" if shutdown.is_set() else reason)


@asynccontextmanager
async def waking(viewer: Subscription, shutdown: anyio.Event) -> AsyncGenerator[None]:
    """A viewer that waits for the feed must notice the shutdown too."""

    async def wake() -> None:
        await shutdown.wait()
        viewer.put(MISSED)

    task = asyncio.create_task(wake())
    try:
        yield
    finally:
        task.cancel()


def answered_by(
    body: AsyncGenerator[ServerSentEvent, None], *, settings: Settings, shutdown: anyio.Event
) -> EventSourceResponse:
    """The answer whose body this is. It says something now and then, and is cut off from a client
    that reads nothing.
    """
    return EventSourceResponse(
        body,
        sep="\n",
        ping=PING_SECONDS,
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        send_timeout=settings.parley_stream_send_timeout_seconds,
        shutdown_event=shutdown,
        shutdown_grace_period=SHUTDOWN_GRACE_SECONDS,
        headers=HEADERS,
    )


def encode(cursor: Cursor, event: Event) -> ServerSentEvent:
    return ServerSentEvent(data=_body(event), event=_name(event), id=str(cursor), sep="\n")


def closing(reason: ClosingReason) -> ServerSentEvent:
    event = StreamClosing(reason)
    return ServerSentEvent(data=_body(event), event=_name(event), sep="\n")


def _name(event: Event) -> str:
    name = event.__struct_config__.tag
    assert isinstance(name, str)
    return name


def _body(event: Event) -> str:
    """The event's own fields: its name stands in the `event:` line."""
    fields = {field: getattr(event, field) for field in event.__struct_fields__}
    return _encoder.encode(fields).decode()
