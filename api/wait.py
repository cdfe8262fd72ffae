"""Long polls: look at the rows, wait until something is told, look again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import msgspec
from sse_starlette.sse import AppStatus

from api.wire import Submitted
from shared.db import Database
from shared.errors import NotFound
from shared.events import TERMINAL
from shared.feed import Feed, Subscription
from shared.publisher import Delta
from shared.store.messages import last_answer
from shared.store.turns import find_turn

T = TypeVar("T")


async def wait_until(
    look: Callable[[], Awaitable[T | None]],
    *,
    feed: Feed,
    conversation_id: UUID,
    since: int,
    seconds: float,
) -> T | None:
    """The first thing `look` finds in the rows; None after `seconds`, or when the server stops.

    `since` is the conversation's last change in which there can't be anything to find.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    async with feed.subscribe(conversation_id) as viewer:
        viewer.seen = since
        while True:
            found = await look()
            left = deadline - clock()
            if found is not None or left <= 0 or AppStatus.should_exit:
                return found
            await _told_of_change(viewer, left)


async def _told_of_change(viewer: Subscription, seconds: float) -> None:
    """Text being streamed is no reason to read the rows."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while (left := deadline - clock()) > 0:
        if any(not isinstance(told, Delta) for told in await viewer.wait(left)):
            return


async def wait_for_answer(
    submitted: Submitted, *, db: Database, feed: Feed, owner: str, seconds: float
) -> Submitted:
    """The same with its turn as it is at last, and the answer if the turn ended in time.

    A turn that awaits approval is waited for no longer: whoever waits may have to decide.
    """
    latest = submitted.turn

    async def look() -> Submitted | None:
        nonlocal latest
        async with db.snapshot(owner) as tx:
            turn = await find_turn(tx, submitted.turn.id, owner=owner)
            if turn is None:
                raise NotFound
            latest = turn
            if turn.status == "awaiting_approval":
                return msgspec.structs.replace(submitted, turn=turn, assistant_message=None)
            if turn.status not in TERMINAL:
                return None
            answer = await last_answer(tx, turn.conversation_id, turn.id)
        return msgspec.structs.replace(submitted, turn=turn, assistant_message=answer)

    found = await wait_until(
        look,
        feed=feed,
        conversation_id=submitted.turn.conversation_id,
        since=submitted.turn.seq,
        seconds=seconds,
    )
    return found or msgspec.structs.replace(submitted, turn=latest, assistant_message=None)
