"""Few at once where many come together.

Sixty turns that begin at the same moment take turns at every step, so that all of them are late and
all end together; and whoever posts then waits for the end of sixty. Let in a few at a time, each
takes as long as it would alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress


class Gate:
    """Lets `places` in at once, in the order they came; who has waited for `patience` seconds goes
    in anyway, so that nobody waits for what is stuck.
    """

    def __init__(self, places: int, *, patience: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience = patience

    @asynccontextmanager
    async def passing(self) -> AsyncGenerator[None]:
        let_in = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                let_in = await self._places.acquire()
        try:
            yield
        finally:
            if let_in:
                self._places.release()
