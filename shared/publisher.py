"""What is told through Redis, and how it is told: committed changes, and text being streamed.

Nothing here is needed to be right, only to be quick: a reader that misses something reads the
rows.
"""

# redis-py leaves the arguments of its commands untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec
from redis.asyncio.client import Pipeline

from shared.events import Change, MessageDelta, moves_base
from shared.redis import Redis

LIVE_TEXT_TTL_SECONDS = 900


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
# may be another's: with a newer base it is kept, with an older one it makes way. Where a piece
# doesn't fit on what stands there, nothing is kept: half a text would be taken for the whole.
BASE_DIGITS = 20
DROPPED = b"dropped"
LOST = b"lost"
KEEP = f"""
local head, piece, before = ARGV[1], ARGV[2], tonumber(ARGV[3])
local kept = redis.call('GETRANGE', KEYS[1], 0, #head - 1)
local function base(head) return string.sub(head, 1, {BASE_DIGITS}) end
if base(kept) > base(head) then return '{DROPPED.decode()}' end
if ARGV[4] then redis.call('PUBLISH', KEYS[2], ARGV[4]) end
if before == 0 then
  redis.call('SET', KEYS[1], head .. piece, 'EX', {LIVE_TEXT_TTL_SECONDS})
elseif kept == head and redis.call('STRLEN', KEYS[1]) == #head + before then
  redis.call('APPEND', KEYS[1], piece)
else
  redis.call('DEL', KEYS[1])
  return '{LOST.decode()}'
end
return 'kept'
"""

SILENCED = b"9" * BASE_DIGITS
"""In place of text: no base is newer, so nothing is kept."""

_live = msgspec.json.Decoder(LiveText)

Told = Changes | Delta | Missed
MISSED = Missed()


def channel(about: UUID) -> bytes:
    """Of a conversation, or of a worker."""
    return f"parley:feed:{about}".encode()


def live_key(conversation_id: UUID) -> str:
    return f"parley:live:{conversation_id}"


class Publisher:
    """The writing half. Raises Redis' errors; callers decide what they are worth."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keep = redis.register_script(KEEP)

    async def changes(
        self,
        conversation_id: UUID,
        changes: Sequence[Change],
        *,
        then: Callable[[Pipeline], object] | None = None,
    ) -> None:
        """Tells committed changes, in their order; text they put an end to is forgotten. What
        `then` asks of Redis is done right behind, in the same round trip.
        """
        payload = msgspec.json.encode(Changes(list(changes)))
        async with self._redis.promptly(), self._redis.pipeline(transaction=False) as pipe:
            if any(moves_base(change) for change in changes):
                pipe.delete(live_key(conversation_id))
            pipe.publish(channel(conversation_id), payload)
            if then is not None:
                then(pipe)
            await pipe.execute()

    async def nudge(self, worker_id: UUID) -> None:
        """Tells a worker to look at its turns now; its next heartbeat would."""
        async with self._redis.promptly():
            await self._redis.publish(channel(worker_id), msgspec.json.encode(Changes([])))

    async def delta(self, conversation_id: UUID, live: LiveText, offset: int) -> None:
        """Tells the text from `offset` on and keeps the whole of it for those who come later.

        Where Redis has lost some of it, it is written again. Text that belongs to an older base
        than what is kept is dropped: its writer has lost the turn.
        """
        piece = live.text[offset:]
        delta = MessageDelta(live.turn_id, live.message_id, live.attempt, offset, piece)
        told = msgspec.json.encode(Delta(live.base, delta))
        head, before = _head(live), len(live.text[:offset].encode())
        keys = [live_key(conversation_id), channel(conversation_id)]
        async with self._redis.promptly():
            if await self._keep(keys, [head, piece.encode(), before, told]) == LOST:
                await self._keep(keys, [head, live.text.encode(), 0])

    async def forget_text(self, conversation_id: UUID) -> None:
        async with self._redis.promptly():
            await self._redis.delete(live_key(conversation_id))

    async def silence(self, conversation_id: UUID) -> None:
        """Of a conversation that is gone no text is kept any more, whoever still writes some."""
        async with self._redis.promptly():
            await self._redis.set(live_key(conversation_id), SILENCED, ex=LIVE_TEXT_TTL_SECONDS)


def _head(live: LiveText) -> bytes:
    """What the text belongs to, in one line that begins with the base in digits of one width."""
    about = LiveText(live.turn_id, live.message_id, live.attempt, live.base)
    return b"%0*d%s\n" % (BASE_DIGITS, live.base, msgspec.json.encode(about))


def parse_live(value: bytes) -> LiveText:
    """What `Publisher.delta` keeps. Raises msgspec.DecodeError or UnicodeDecodeError."""
    head, _, text = value[BASE_DIGITS:].partition(b"\n")
    return msgspec.structs.replace(_live.decode(head), text=text.decode())
