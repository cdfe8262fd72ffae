"""The body of an event stream: replay from a cursor, follow, keep alive, close.

Order matters: subscribe, then read the rows, then the live text; what is told meanwhile waits in
the subscription and is sorted out by its numbers (`follower.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any, TypeVar, cast
from uuid import UUID

import anyio
import msgspec
from sse_starlette import EventSourceResponse

from api.follower import BehindError, Cursor, Follower
from api.shutdown import EventStreamResponse, Shutdown
from shared.access import Access
from shared.db import Database
from shared.errors import NotFound, Unavailable
from shared.events import ClosingReason, Event, StreamClosing
from shared.feed import NOTHING_SEEN, Feed, Subscription
from shared.metrics import REPLAYS, STREAMS
from shared.publisher import MISSED, Changes, Delta, Missed, Told
from shared.redis import REDIS_ERRORS
from shared.store.replay import Replay, replay

PING_SECONDS = 15
SHUTDOWN_GRACE_SECONDS = 4
"""For the last word on a busy machine; the server itself waits twice as long."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS = 2000
PAGE = 100
CATCH_UP_TRIES = 3

T = TypeVar("T")

Said = tuple[Cursor | None, Event]

PING = b": ping\n\n"
CONNECTED = b": connected\nretry: %d\n\n" % RETRY_MS
KNOWN_EVENTS = 32

_encoder = msgspec.json.Encoder()
_known: dict[int, tuple[Event, bytes, bytes]] = {}


class EventStream:
    """One viewer of one conversation."""

    __slots__ = (
        "_behind",
        "_conversation_id",
        "_db",
        "_feed",
        "_follower",
        "_lacks_text",
        "_owner",
        "_shutdown",
    )

    def __init__(
        self,
        *,
        db: Database,
        feed: Feed,
        conversation_id: UUID,
        owner: str,
        cursor: Cursor,
        shutdown: Shutdown,
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

    async def catch_up(self) -> AsyncGenerator[list[Said], None]:
        """The rows changed since the cursor, then the text in flight.

        Raises NotFound once the conversation is deleted. While Postgres or Redis is away its part
        is missing, and the lookout sends us again.
        """
        self._lacks_text = False
        for _ in range(CATCH_UP_TRIES):
            try:
                async for page in self._rows():
                    yield page
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
                yield [told]
            return

    async def _rows(self) -> AsyncGenerator[list[Said], None]:
        self._behind = True
        while self._behind:
            found = await self._unless_closing(self._look())
            if found is None:
                raise NotFound
            page: list[Said] = [*self._follower.on_replay(found)]
            if page:
                yield page
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
        working = asyncio.create_task(work)
        try:
            with self._shutdown.calling(working.cancel):
                await asyncio.wait({working})
            if working.cancelled():
                raise Unavailable
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def follow(self, told: list[Told]) -> AsyncGenerator[list[Said], None]:
        """What the feed told; whatever is missing before it is read from the rows first."""
        said: list[Said] = []
        for item in told:
            try:
                for one in self._take(item):
                    said.append(one)
            except BehindError:
                REPLAYS.labels("missed" if isinstance(item, Missed) else "gap").inc()
                if said:
                    yield said
                    said = []
                async for page in self.catch_up():
                    yield page
        if said:
            yield said

    def _take(self, item: Told) -> Iterator[Said]:
        """One by one: what came before a gap is told before the error."""
        match item:
            case Changes(changes=changes):
                yield from self._follower.on_changes(changes)
            case Delta():
                if (piece := self._follower.on_delta(item)) is not None:
                    yield piece
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
    shutdown: Shutdown,
) -> AsyncGenerator[list[Said], None]:
    """What there is to tell, as much at once as there is, each event with where its viewer stands
    then; nothing after a while of silence. The last one says why the stream ends.

    Ends by itself after `lifetime` seconds, at the token's expiry or once its session is ended,
    on deletion or shutdown, and where the viewer is too slow to be told everything live: it comes
    again and reads the rows. One that takes nothing at all can't be told anything; it is cut off
    (`patience.py`).
    """
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
    async with feed.subscribe(conversation_id) as viewer:
        viewer.access = access
        REPLAYS.labels("opened").inc()
        STREAMS.inc()
        try:
            async for page in stream.catch_up():
                yield page
            while (left := deadline - loop.time()) > 0 and not shutdown.is_set():
                stream.brief(viewer)
                with shutdown.calling(partial(viewer.put, MISSED)):
                    told = await viewer.wait(min(left, PING_SECONDS))
                if not told:
                    yield []
                if viewer.unauthorized or viewer.too_slow:
                    reason = "unauthorized" if viewer.unauthorized else "slow"
                    break
                async for said in stream.follow(told):
                    yield said
        except NotFound:
            reason = "deleted"
        finally:
            STREAMS.dec()
    yield [(None, StreamClosing("shutdown" if shutdown.is_set() else reason))]


def answered_by(body: AsyncGenerator[bytes, None], *, shutdown: Shutdown) -> EventSourceResponse:
    """The answer whose body this is."""
    return EventStreamResponse(
        body,
        sep="\n",
        ping=0,
        shutdown_event=cast("anyio.Event", shutdown),
        shutdown_grace_period=SHUTDOWN_GRACE_SECONDS,
        headers=HEADERS,
    )


async def framed(stream: AsyncGenerator[list[Said], None]) -> AsyncGenerator[bytes, None]:
    """The events as they are sent: what is told at once is sent at once."""
    yield CONNECTED
    async with aclosing(stream):
        async for said in stream:
            yield b"".join(frame(cursor, event) for cursor, event in said) or PING


def frame(cursor: Cursor | None, event: Event) -> bytes:
    name, data = _encoded(event)
    place = b"id: %s\n" % str(cursor).encode() if cursor is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (place, name, data)


def _encoded(event: Event) -> tuple[bytes, bytes]:
    """The event's name and its other fields. Its viewers are all told the same object, which is
    encoded for the first of them.
    """
    known = _known.get(id(event))
    if known is None:
        name = event.__struct_config__.tag
        assert isinstance(name, str)
        fields = {field: getattr(event, field) for field in event.__struct_fields__}
        if len(_known) >= KNOWN_EVENTS:
            _known.clear()
        # The event is kept with it, so that no other object can have its id.
        known = _known[id(event)] = (event, name.encode(), _encoder.encode(fields))
    return known[1:]
