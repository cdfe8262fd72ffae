"""The live feed: what was committed, and the text being streamed, told through Redis.

Nothing here is needed to be right, only to be quick: a reader that misses something reads the
rows. One connection a process listens for however many viewers.
"""

# redis-py leaves the arguments of its commands and the messages of a subscription untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog
from arq.connections import ArqRedis
from redis.asyncio.client import PubSub

from shared.events import Change, MessageDelta, moves_base
from shared.redis import REDIS_ERRORS

log = structlog.get_logger()

PUBLISH_TIMEOUT_SECONDS = 0.5
SUBSCRIBE_TIMEOUT_SECONDS = 0.5
SILENCE_SECONDS = 2.0
RECONNECT_SECONDS = 0.3
LIVE_TEXT_TTL_SECONDS = 900
MAX_BACKLOG = 2000
HEARTBEAT_CHANNEL = b"parley:feed"


class Changes(msgspec.Struct, frozen=True, tag="changes"):
    changes: list[Change]


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """`base` is the seq of the last change the text stands on (`events.moves_base`)."""

    base: int
    delta: MessageDelta


class Missed(msgspec.Struct, frozen=True, tag="missed"):
    """Something may have been lost: read the rows."""


class LiveText(msgspec.Struct, frozen=True):
    """The text of the message being streamed, as far as it is known."""

    turn_id: UUID
    message_id: UUID
    attempt: int
    base: int
    text: str = ""


# The text in flight is a head line, then the text: a further piece is an APPEND. What stands there
# may be another's: with a newer base it is kept, with an older one it makes way. A piece without
# anything to tell is the whole text.
BASE_DIGITS = 20
DROPPED = -1
KEEP = f"""
local kept = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
local function base(head) return string.sub(head, 1, {BASE_DIGITS}) end
if base(kept) > base(ARGV[1]) then return {DROPPED} end
if ARGV[3] then redis.call('PUBLISH', KEYS[2], ARGV[3]) end
if kept == ARGV[1] and ARGV[3] then return redis.call('APPEND', KEYS[1], ARGV[2]) end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', {LIVE_TEXT_TTL_SECONDS})
return #ARGV[1] + #ARGV[2]
"""

Told = Changes | Delta | Missed
MISSED = Missed()
_told = msgspec.json.Decoder(Changes | Delta)
_live = msgspec.json.Decoder(LiveText)


def channel(about: UUID) -> bytes:
    """Of a conversation, or of a worker."""
    return f"parley:feed:{about}".encode()


def live_key(conversation_id: UUID) -> str:
    return f"parley:live:{conversation_id}"


class Publisher:
    """The writing half. Raises Redis' errors; callers decide what they are worth."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._keep = redis.register_script(KEEP)

    async def changes(self, conversation_id: UUID, changes: Sequence[Change]) -> None:
        """Tells committed changes, in their order; text they put an end to is forgotten."""
        payload = msgspec.json.encode(Changes(list(changes)))
        async with (
            asyncio.timeout(PUBLISH_TIMEOUT_SECONDS),
            self._redis.pipeline(transaction=False) as pipe,
        ):
            if any(moves_base(change) for change in changes):
                pipe.delete(live_key(conversation_id))
            pipe.publish(channel(conversation_id), payload)
            await pipe.execute()

    async def nudge(self, worker_id: UUID) -> None:
        """Tells a worker to look at its turns now; its next heartbeat would."""
        async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
            await self._redis.publish(channel(worker_id), msgspec.json.encode(Changes([])))

    async def delta(self, conversation_id: UUID, live: LiveText, offset: int) -> None:
        """Tells the text from `offset` on and keeps the whole of it for those who come later.

        When its length shows that Redis has lost some of it, it is written again. Text that
        belongs to an older base than what is kept is dropped: its writer has lost the turn.
        """
        piece = live.text[offset:]
        delta = MessageDelta(live.turn_id, live.message_id, live.attempt, offset, piece)
        told = msgspec.json.encode(Delta(live.base, delta))
        head = _head(live)
        keys = [live_key(conversation_id), channel(conversation_id)]
        length = await self._keep(keys, [head, piece.encode(), told])
        if length not in {DROPPED, len(head) + len(live.text.encode())}:
            await self._keep(keys, [head, live.text.encode()])


def _head(live: LiveText) -> bytes:
    """What the text belongs to, in one line that begins with the base in digits of one width."""
    about = LiveText(live.turn_id, live.message_id, live.attempt, live.base)
    return b"%0*d%s\n" % (BASE_DIGITS, live.base, msgspec.json.encode(about))


class Subscription:
    """One viewer's share of the feed."""

    def __init__(self) -> None:
        self._told: deque[Told] = deque()
        self._woken = asyncio.Event()

    def put(self, told: Told) -> None:
        if len(self._told) >= MAX_BACKLOG:
            self._told.clear()
            told = MISSED
        self._told.append(told)
        self._woken.set()

    async def wait(self, seconds: float) -> list[Told]:
        """What was told since the last call; empty if `seconds` pass in silence."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()
        told = list(self._told)
        self._told.clear()
        return told


class Feed(Publisher):
    """The reading half as well: `listen()` must be running."""

    def __init__(self, redis: ArqRedis) -> None:
        super().__init__(redis)
        self._viewers: dict[bytes, set[Subscription]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self.healthy = False
        """False while Redis is away: then viewers look at the rows more often."""

    @asynccontextmanager
    async def subscribe(self, about: UUID) -> AsyncGenerator[Subscription]:
        """What is told of a conversation or to a worker.

        Nothing told after this is missed, unless Redis is away: then `healthy` is False.
        """
        name = channel(about)
        viewer = Subscription()
        self._viewers.setdefault(name, set()).add(viewer)
        try:
            await self._join(name)
            yield viewer
        finally:
            await self._leave(name, viewer)

    async def live_text(self, conversation_id: UUID) -> LiveText | None:
        """The text in flight; None if there is none or Redis can't tell."""
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                value: bytes | None = await self._redis.get(live_key(conversation_id))
            if value is None:
                return None
            head, _, text = value[BASE_DIGITS:].partition(b"\n")
            return msgspec.structs.replace(_live.decode(head), text=text.decode())
        except (*REDIS_ERRORS, msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def listen(self) -> None:
        """Runs until cancelled; reconnects for ever; a silent connection is pinged, then left."""
        while True:
            try:
                await self._listen_once()
            except REDIS_ERRORS as error:
                log.warning("feed_lost", error=type(error).__name__)
            finally:
                self.healthy = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            for name in self._viewers:
                self._confirmed.setdefault(name, asyncio.Event()).set()
            await pubsub.subscribe(HEARTBEAT_CHANNEL, *self._viewers)
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
            return
        confirmed = self._confirmed.setdefault(name, asyncio.Event())
        if confirmed.is_set():
            for viewer in self._viewers.get(name, ()):
                viewer.put(MISSED)
        confirmed.set()

    def _tell(self, name: bytes, payload: bytes) -> None:
        viewers = self._viewers.get(name)
        if not viewers:
            return
        try:
            told: Told = _told.decode(payload)
        except msgspec.DecodeError:
            told = MISSED
        for viewer in viewers:
            viewer.put(told)

    async def _join(self, name: bytes) -> None:
        if self._pubsub is None:
            return
        confirmed = self._confirmed.setdefault(name, asyncio.Event())
        if confirmed.is_set():
            return
        with suppress(*REDIS_ERRORS):
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
            with suppress(*REDIS_ERRORS):
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                    await self._pubsub.unsubscribe(name)
