"""The live feed as its viewers hear it: one connection a process listens for all of them."""

# redis-py leaves the arguments of its commands and the messages of a subscription untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog
from redis.asyncio.client import Pipeline, PubSub

from shared.access import Access
from shared.events import Change
from shared.metrics import FEED_UP, REDIS_RECONNECTS
from shared.publisher import (
    MISSED,
    Changes,
    Delta,
    LiveText,
    Publisher,
    Told,
    channel,
    live_key,
    parse_live,
)
from shared.redis import REDIS_ERRORS, Redis

log = structlog.get_logger()

SUBSCRIBE_TIMEOUT_SECONDS = 0.5
SILENCE_SECONDS = 2.0
RECONNECT_SECONDS = 0.3
MAX_BACKLOG = 2000
NOTHING_SEEN = -1
HEARTBEAT_CHANNEL = b"parley:feed"
# redis-py stumbles over a subscription whose connection is being closed under it.
SUBSCRIPTION_ERRORS = (*REDIS_ERRORS, RuntimeError, AttributeError)

_told = msgspec.json.Decoder(Changes | Delta)


class Subscription:
    """One viewer's share of the feed. There are thousands, most of them waiting."""

    __slots__ = (
        "_told",
        "_waiter",
        "about",
        "access",
        "lacks_text",
        "seen",
        "too_slow",
        "unauthorized",
    )

    def __init__(self, about: UUID) -> None:
        self.about = about
        self.seen = NOTHING_SEEN
        """The last change of the conversation that its viewer needs not be told of any more."""
        self.lacks_text = False
        """Redis could not tell the viewer what text is in flight."""
        self.access = Access()
        """What the viewer's right to look hangs on."""
        self.unauthorized = False
        """It is lost."""
        self.too_slow = False
        """More was told than anybody keeps for it."""
        self._told: list[Told] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, told: Told) -> None:
        if told is MISSED and self._told and self._told[-1] is MISSED:
            return
        if len(self._told) >= MAX_BACKLOG:
            self._told.clear()
            self.too_slow = True
            told = MISSED
        self._told.append(told)
        if self._waiter is not None:
            _wake(self._waiter)

    async def wait(self, seconds: float) -> list[Told]:
        """What was told since the last call; empty if `seconds` pass in silence."""
        if not self._told:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        told, self._told = self._told, []
        return told


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Feed(Publisher):
    """The reading half as well: `listen()` must be running."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._viewers: dict[bytes, set[Subscription]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self.healthy = False
        """False while Redis is away: then somebody has to look at the rows."""

    async def changes(
        self,
        conversation_id: UUID,
        changes: Sequence[Change],
        *,
        then: Callable[[Pipeline], object] | None = None,
    ) -> None:
        """What Redis doesn't take, our own viewers read in the rows."""
        try:
            await super().changes(conversation_id, changes, then=then)
        except BaseException:
            self._tell_viewers(channel(conversation_id), MISSED)
            raise

    @asynccontextmanager
    async def subscribe(self, about: UUID) -> AsyncGenerator[Subscription]:
        """What is told of a conversation or to a worker.

        Nothing told after this is missed, unless Redis is away: then `healthy` is False.
        """
        name = channel(about)
        viewer = Subscription(about)
        self._viewers.setdefault(name, set()).add(viewer)
        try:
            await self._join(name)
            yield viewer
        finally:
            await self._leave(name, viewer)

    @property
    def viewers(self) -> list[Subscription]:
        return [viewer for viewers in self._viewers.values() for viewer in viewers]

    async def live_text(self, conversation_id: UUID) -> LiveText | None:
        """The text in flight; None if there is none or Redis can't tell."""
        try:
            return await self.ask_for_text(conversation_id)
        except REDIS_ERRORS:
            return None

    async def ask_for_text(self, conversation_id: UUID) -> LiveText | None:
        """The text in flight. Raises one of REDIS_ERRORS."""
        async with self._redis.promptly():
            value: bytes | None = await self._redis.get(live_key(conversation_id))
        try:
            return parse_live(value) if value is not None else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def listen(self) -> None:
        """Runs until cancelled; reconnects for ever, whatever redis-py raises; a silent connection
        is pinged, then left.
        """
        while True:
            try:
                await self._listen_once()
            except Exception as error:
                log.warning("feed_lost", error=type(error).__name__)
                REDIS_RECONNECTS.inc()
            finally:
                self.healthy = False
                FEED_UP.set(0)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        pubsub = self._redis.pubsub()
        known: set[bytes] = set()
        try:
            # Whoever comes while we connect is subscribed before anybody else may use `_pubsub`.
            while new := {HEARTBEAT_CHANNEL, *self._viewers} - known:
                for name in new - {HEARTBEAT_CHANNEL}:
                    self._confirmed.setdefault(name, asyncio.Event()).set()
                await pubsub.subscribe(*new)
                known |= new
            self._pubsub = pubsub
            await self._read(pubsub)
        finally:
            self._pubsub = None
            with suppress(*REDIS_ERRORS):
                await pubsub.aclose()

    async def _read(self, pubsub: PubSub) -> None:
        pinged = False
        while True:
            message: Any = await pubsub.get_message(timeout=SILENCE_SECONDS)
            if message is None:
                if pinged:
                    raise TimeoutError
                pinged = True
                await pubsub.ping()
                continue
            pinged = False
            name: bytes = message["channel"] or b""
            match message["type"]:
                case "message":
                    self._tell(name, message["data"])
                case "subscribe":
                    self._subscribed(name)
                case _:
                    pass

    def _subscribed(self, name: bytes) -> None:
        """A channel confirmed before was lost in between (redis-py reconnects by itself too)."""
        if name == HEARTBEAT_CHANNEL:
            self.healthy = True
            FEED_UP.set(1)
            return
        confirmed = self._confirmed.setdefault(name, asyncio.Event())
        if confirmed.is_set():
            self._tell_viewers(name, MISSED)
        confirmed.set()

    def _tell(self, name: bytes, payload: bytes) -> None:
        if name not in self._viewers:
            return
        try:
            told: Told = _told.decode(payload)
        except msgspec.DecodeError:
            told = MISSED
        self._tell_viewers(name, told)

    def _tell_viewers(self, name: bytes, told: Told) -> None:
        for viewer in self._viewers.get(name, ()):
            viewer.put(told)

    async def _join(self, name: bytes) -> None:
        if self._pubsub is None:
            return
        confirmed = self._confirmed.setdefault(name, asyncio.Event())
        if confirmed.is_set():
            return
        with suppress(*SUBSCRIPTION_ERRORS):
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                await self._pubsub.subscribe(name)
                await confirmed.wait()

    async def _leave(self, name: bytes, viewer: Subscription) -> None:
        viewers = self._viewers.get(name, set())
        viewers.discard(viewer)
        if viewers:
            return
        self._viewers.pop(name, None)
        self._confirmed.pop(name, None)
        if self._pubsub is not None:
            with suppress(*SUBSCRIPTION_ERRORS):
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                    await self._pubsub.unsubscribe(name)
