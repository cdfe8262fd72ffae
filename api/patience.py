"""Connections whose client takes nothing any more are cut.

uvicorn waits for ever: an answer that nobody reads, or a stream that was given up, would keep its
connection and what was written into it for as long as the client likes.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def patient(seconds: float) -> type[HttpToolsProtocol]:
    """A protocol that cuts a connection of which nothing was taken for so long."""

    class Patient(HttpToolsProtocol):
        _watching: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._rest()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _watch(self, before: int | None = None) -> None:
            left = self.transport.get_write_buffer_size()
            if left == before:
                self.transport.abort()
            else:
                self._watching = self.loop.call_later(seconds, self._watch, left)

        def _rest(self) -> None:
            if self._watching is not None:
                self._watching.cancel()

    return Patient
