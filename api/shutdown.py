"""The server stops: what an open stream does about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, ClassVar

import anyio
from sse_starlette import EventSourceResponse
from starlette.types import Message, Send

Signal = Callable[[], Coroutine[Any, Any, None]]


class Shutdown:
    """One stream's. sse-starlette sets it, as it would an `anyio.Event`, and waits a while for the
    stream to end. Nobody waits for it: a task for each of thousands of idle streams is memory.
    """

    __slots__ = ("_calls", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._calls: list[Callable[[], object]] = []

    def set(self) -> None:
        self._is_set = True
        for call in [*self._calls]:
            call()

    def is_set(self) -> bool:
        return self._is_set

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Generator[None]:
        """Within the block `call` is called once it is set; at once if it is."""
        self._calls.append(call)
        if self._is_set:
            call()
        try:
            yield
        finally:
            self._calls.remove(call)


class EventStreamResponse(EventSourceResponse):
    """sse-starlette's, for thousands that wait. A client that reads nothing is cut off elsewhere
    (`patience.py`).
    """

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """Without one: even a timer for never is a fifth of what telling a viewer costs."""
        await send(message)

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        """All wait for one that listens: an event of its own for each is a kilobyte."""
        await _Listener.here(EventSourceResponse._listen_for_exit_signal).stopped.wait()


class _Listener:
    """The one of the event loop that runs. `signal` returns once the server was told to stop."""

    _last: ClassVar[_Listener | None] = None

    def __init__(self, loop: asyncio.AbstractEventLoop, signal: Signal) -> None:
        self.stopped = anyio.Event()
        self._loop = loop
        # Not in the context of the request that happens to be the first.
        self._task = loop.create_task(self._listen(signal), context=Context())

    @classmethod
    def here(cls, signal: Signal) -> _Listener:
        loop = asyncio.get_running_loop()
        if cls._last is None or cls._last._loop is not loop or cls._last._task.done():
            cls._last = cls(loop, signal)
        return cls._last

    async def _listen(self, signal: Signal) -> None:
        try:
            await signal()
        finally:
            self.stopped.set()
