"""Counting what is limited: in Redis for all processes, and here while Redis is away.

A window begins with the first request of its key and ends a minute later; then the key is gone.
An event stream counts until it is left, or until nobody renews it any more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from math import inf

import msgspec

from api.trips import Script, Trips
from shared.redis import Redis

WINDOW_SECONDS = 60
STREAM_SECONDS = 30
"""An open stream counts for so long after it was last renewed."""
MOST_KEPT = 50_000
"""Windows that a process has in mind, and what comes within a second."""
FORGET_SECONDS = 1.0

# Nothing is counted where a window is full: the answer names the one that stays full for longest,
# 0 for none, -1 where only the streams are too many. A key without an end counts as gone.
SPEND = Script("""
local windows, span = tonumber(ARGV[1]), ARGV[2]
local answer, full, longest = {0}, 0, 0
for i = 1, windows do
  local count, left = tonumber(redis.call('GET', KEYS[i]) or 0), redis.call('PTTL', KEYS[i])
  if left <= 0 then count, left = 0, tonumber(span) end
  if count >= tonumber(ARGV[2 + i]) and left > longest then full, longest = i, left end
  answer[2 * i], answer[2 * i + 1] = count, left
end
if full > 0 then
  answer[1] = full
  return answer
end
for i = 1, windows do
  if answer[2 * i] == 0 then redis.call('SET', KEYS[i], 1, 'PX', span)
  else redis.call('INCR', KEYS[i]) end
  answer[2 * i] = answer[2 * i] + 1
end
local streams = KEYS[windows + 1]
if streams then
  local most, lives, id = tonumber(ARGV[windows + 3]), ARGV[windows + 4], ARGV[windows + 5]
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', streams, '-inf', now)
  if redis.call('ZCARD', streams) >= most then answer[1] = -1
  else
    redis.call('ZADD', streams, now + lives, id)
    redis.call('PEXPIRE', streams, lives)
  end
end
return answer
""")
RENEW = Script("""
local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], till, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {}
""")


class Window(msgspec.Struct, frozen=True):
    name: str
    """As the headers call it."""
    key: str
    most: int
    """Requests in `WINDOW_SECONDS`."""


class Stream(msgspec.Struct, frozen=True):
    key: str
    id: str
    most: int
    """Streams of the key at once."""


class Count(msgspec.Struct, frozen=True):
    window: Window
    spent: int
    seconds_left: int

    @property
    def remaining(self) -> int:
        return max(0, self.window.most - self.spent)


class Verdict(msgspec.Struct, frozen=True):
    """`full`: the window that refuses the request; nothing was counted then."""

    counts: list[Count] = []
    full: Count | None = None
    too_many_streams: bool = False

    @property
    def tightest(self) -> Count | None:
        return self.full or min(self.counts, key=lambda count: count.remaining, default=None)


class Counting:
    """One round trip for all that a request is counted by."""

    def __init__(
        self,
        redis: Redis,
        *,
        most_kept: int = MOST_KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trips = Trips(redis, SPEND, RENEW)
        self._clock = clock
        self._most_kept = most_kept
        self._here: dict[str, tuple[int, float]] = {}
        """Spent, and when it ends; what was heard of last stands last."""
        self._forgot_at = -inf
        self._streams: dict[str, set[str]] = {}
        self.untold = False
        """Redis may not know of all streams."""

    async def begin(self) -> None:
        await self._trips.load()

    async def end(self) -> None:
        await self._trips.end()

    async def spend(self, windows: Sequence[Window], stream: Stream | None = None) -> Verdict:
        """Counts the request; whoever opens a stream leaves it afterwards. Never raises."""
        if not windows and stream is None:
            return Verdict()
        keys = [window.key for window in windows]
        values = [len(windows), WINDOW_SECONDS * 1000, *(window.most for window in windows)]
        if stream is not None:
            keys.append(stream.key)
            values += [stream.most, STREAM_SECONDS * 1000, stream.id]
        answer = await self._trips.ask(*SPEND.question(keys, values))
        if answer is None:
            answer = self._spend_here(windows, stream)
            self.untold = self.untold or stream is not None
        else:
            self._remember(windows, answer)
        verdict = _verdict(windows, answer)
        if stream is not None and verdict.full is None and not verdict.too_many_streams:
            self._streams.setdefault(stream.key, set()).add(stream.id)
        return verdict

    def known_full(self, window: Window) -> Count | None:
        """A window that was full when we last heard of it stays so until it ends."""
        spent, ends = self._here.get(window.key, (0, 0.0))
        left = ends - self._clock()
        return Count(window, spent, math.ceil(left)) if left > 0 and spent >= window.most else None

    async def leave(self, stream: Stream) -> None:
        """Whether it was counted or not."""
        ids = self._streams.get(stream.key, set())
        ids.discard(stream.id)
        if not ids:
            self._streams.pop(stream.key, None)
        await self._trips.ask("ZREM", stream.key, stream.id)

    async def renew(self) -> None:
        """Says that the streams of this process live; what Redis has lost of them comes back."""
        told = await asyncio.gather(*(self._renew(key) for key in self._streams))
        self.untold = not all(told)

    async def _renew(self, key: str) -> bool:
        # What is asked later arrives later: a stream that is left from now on stays left.
        ids = self._streams.get(key)
        if not ids:
            return True
        question = RENEW.question([key], [STREAM_SECONDS * 1000, *ids])
        return await self._trips.ask(*question) is not None

    def _remember(self, windows: Sequence[Window], answer: list[int]) -> None:
        """From here we go on alone if Redis goes away."""
        now = self._clock()
        for window, spent, left in zip(windows, answer[1::2], answer[2::2], strict=True):
            self._here.pop(window.key, None)
            self._here[window.key] = (spent, now + left / 1000)
        if len(self._here) > self._most_kept and now - self._forgot_at >= FORGET_SECONDS:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """What is over, and of the rest those that were not heard of for longest. It looks at all
        of them, so that it must not come with every request.
        """
        self._forgot_at = now
        alive = [item for item in self._here.items() if item[1][1] > now]
        self._here = dict(alive[-self._most_kept :])

    def _spend_here(self, windows: Sequence[Window], stream: Stream | None) -> list[int]:
        """The same as the script, for this process alone."""
        now = self._clock()
        found = [self._here.get(window.key, (0, 0.0)) for window in windows]
        found = [(n, ends) if ends > now else (0, now + WINDOW_SECONDS) for n, ends in found]
        full = max(
            (i for i, window in enumerate(windows) if found[i][0] >= window.most),
            key=lambda i: found[i][1],
            default=None,
        )
        counted = 1 if full is None else 0
        answer = [0 if full is None else full + 1]
        for spent, ends in found:
            answer += [spent + counted, int((ends - now) * 1000)]
        self._remember(windows, answer)
        open_here = len(self._streams.get(stream.key, ())) if stream is not None else 0
        if full is None and stream is not None and open_here >= stream.most:
            answer[0] = -1
        return answer


def _verdict(windows: Sequence[Window], answer: list[int]) -> Verdict:
    full, *rest = answer
    pairs = zip(windows, rest[::2], rest[1::2], strict=True)
    counts = [Count(window, spent, -(-left // 1000)) for window, spent, left in pairs]
    return Verdict(counts, counts[full - 1] if full > 0 else None, full == -1)
