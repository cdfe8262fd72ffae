"""Connections whose client takes nothing any more, or doesn't end what it asks, are cut.

uvicorn waits for ever: an answer that nobody reads, a stream that was given up, a request that
stops in its middle or never begins would keep its connection, and what was written into it, for as
long as the client likes. Between two requests it has a limit of its own (keep-alive). A client that
vanishes without a word would be written to for a quarter of an hour: the system is told to give up
sooner, where it can be (Linux).
"""

from __future__ import annotations

import asyncio
import socket
import sys

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ASKING_SECONDS = 30.0
"""From its first byte to its last, a request; and until that first byte, a new connection."""


class Patient(HttpToolsProtocol):
    """A request that is whole may be answered for as long as that takes: only what its client
    leaves open is timed.
    """

    taking_seconds: float
    asking_seconds: float
    _taking: asyncio.TimerHandle | None = None
    _asking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        give_up_after(self.taking_seconds, transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._asked()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Line ends before a request are none of it, and stop the keep-alive limit all the same.
        if self._asking is None:
            self._expect()
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            # It was answered before its end, which has stopped the keep-alive limit too.
            self._expect()
        else:
            self._asked()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._rest()

    def _expect(self) -> None:
        self._asked()
        self._asking = self.loop.call_later(self.asking_seconds, self._asked_too_slowly)

    def _asked(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _asked_too_slowly(self) -> None:
        """Nobody is too slow while we don't read, or are answering what they asked before."""
        cycle = self.cycle
        answering = cycle and not cycle.more_body and not cycle.response_complete
        if self.flow.read_paused or self.pipeline or answering:
            self._expect()
        else:
            self.transport.abort()

    def _watch(self, before: int | None = None) -> None:
        left = self.transport.get_write_buffer_size()
        if left == before:
            self.transport.abort()
        else:
            self._taking = self.loop.call_later(self.taking_seconds, self._watch, left)

    def _rest(self) -> None:
        if self._taking is not None:
            self._taking.cancel()


def give_up_after(seconds: float, transport: asyncio.Transport) -> None:
    """Ends the connection once what was sent has been on its way to the client for so long."""
    line = transport.get_extra_info("socket")
    if sys.platform == "linux" and line.family != socket.AF_UNIX:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def patient(taking: float, asking: float = ASKING_SECONDS) -> type[Patient]:
    """A protocol that cuts a connection of which nothing was taken for so long, or on which a
    request takes longer than that to be asked.
    """

    class Timed(Patient):
        taking_seconds = taking
        asking_seconds = asking

    return Timed
