"""The text of the message being written, on its way to the viewers.

The first piece leaves at once, what follows is told at most every `COALESCE_SECONDS`, and the
model's stream never waits for Redis.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from shared.events import Turn
from shared.metrics import DELTAS
from shared.publisher import LiveText, Publisher
from shared.redis import REDIS_ERRORS

log = structlog.get_logger()

COALESCE_SECONDS = 0.05
AWAY_SECONDS = 0.2
LAST_PIECE_SECONDS = 0.2


class LiveMessage:
    """One message in flight. Use it as a context: leaving it ends the telling."""

    def __init__(self, publisher: Publisher, turn: Turn, *, message_id: UUID, base: int) -> None:
        self.message_id = message_id
        self.text = ""
        self._publisher = publisher
        self._turn = turn
        self._base = base
        self._told = 0
        self._grown = asyncio.Event()
        self._closing = asyncio.Event()
        self._teller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LiveMessage:
        self._teller = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        """No piece may follow the commit; one under way may end, within a moment."""
        assert self._teller is not None
        self._closing.set()
        self._grown.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_PIECE_SECONDS):
                await self._teller

    def write(self, piece: str) -> None:
        self.text += piece
        self._grown.set()

    async def _tell(self) -> None:
        """Ends with the context; each round is bounded by Redis' time limits."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            if self._closing.is_set():
                return
            try:
                await self._piece()
            except REDIS_ERRORS as error:
                log.warning("live_text_failed", error=type(error).__name__)
                await self._pause(AWAY_SECONDS)
                self._grown.set()
            await self._pause(COALESCE_SECONDS)

    async def _piece(self) -> None:
        live = LiveText(
            turn_id=self._turn.id,
            message_id=self.message_id,
            attempt=self._turn.attempt,
            base=self._base,
            text=self.text,
        )
        await self._publisher.delta(self._turn.conversation_id, live, self._told)
        self._told = len(live.text)
        DELTAS.inc()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
