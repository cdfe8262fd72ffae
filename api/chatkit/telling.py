"""The stream of one turn: what opens it, what our own event stream tells, and its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from chatkit.types import StreamOptions, StreamOptionsEvent, ThreadCreatedEvent, ThreadStreamEvent
from litestar.types import ASGIApp
from sse_starlette import ServerSentEvent

from api.chatkit.asking import Followed
from api.chatkit.items import serialise, thread_of
from api.chatkit.relay import Relay
from api.chatkit.visitor import Visitor
from api.follower import Cursor
from api.shutdown import Shutdown
from api.stream import PING, Said, answered_by, event_stream
from shared.errors import NotFound
from shared.store.conversations import find_conversation
from shared.store.messages import is_withdrawn


async def stream_of(visitor: Visitor, followed: Followed, *, created: bool = False) -> ASGIApp:
    """Raises NotFound if the thread was deleted meanwhile."""
    opening = await _opening(visitor, followed, created=created)
    shutdown = Shutdown()
    principal, settings = visitor.principal, visitor.settings
    told = event_stream(
        db=visitor.db,
        feed=visitor.feed,
        conversation_id=followed.conversation_id,
        owner=visitor.owner,
        cursor=Cursor(followed.since),
        expires_at=principal.expires_at,
        access=principal.access,
        lifetime=settings.parley_stream_lifetime_seconds,
        shutdown=shutdown,
    )
    body = _relayed(visitor, followed, opening, told)
    return cast("ASGIApp", answered_by(body, shutdown=shutdown))


async def _opening(
    visitor: Visitor, followed: Followed, *, created: bool
) -> list[ThreadStreamEvent]:
    """Leaving cancels nothing, so there is no button for it."""
    options = StreamOptionsEvent(stream_options=StreamOptions(allow_cancel=False))
    if not created:
        return [options]
    async with visitor.db.snapshot(visitor.owner) as tx:
        found = await find_conversation(tx, followed.conversation_id, owner=visitor.owner)
    if found is None:
        raise NotFound
    return [ThreadCreatedEvent(thread=thread_of(found)), options]


async def _relayed(
    visitor: Visitor,
    followed: Followed,
    opening: list[ThreadStreamEvent],
    told: AsyncGenerator[list[Said], None],
) -> AsyncGenerator[bytes, None]:
    """Ends with the turn; the stream beneath would go on for as long as it is listened to."""
    relay = Relay(followed)
    for event in opening:
        yield _encoded(event)
    async with aclosing(told):
        async for heard in told:
            if not heard:
                yield PING
            for _, event in heard:
                if relay.ended:
                    break
                for item in relay.hear(event):
                    yield _encoded(item)
            if relay.ended:
                break
    if relay.status == "cancelled" and await _was_rolled_back(visitor, followed):
        for event in relay.take_back():
            yield _encoded(event)


async def _was_rolled_back(visitor: Visitor, followed: Followed) -> bool:
    async with visitor.db.look(visitor.owner) as tx:
        return await is_withdrawn(tx, followed.question_id)


def _encoded(event: ThreadStreamEvent) -> bytes:
    return ServerSentEvent(data=serialise(event), sep="\n").encode()
