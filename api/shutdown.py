"""The server stops: what an open stream does about it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager


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
