"""The text in flight is one writer's, whoever else still writes."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from shared.events import MessageDelta
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import Delta, LiveText, live_key
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

CONVERSATION = new_id()


def text_of(attempt: int, base: int, text: str) -> LiveText:
    return LiveText(new_id(), new_id(), attempt, base, text)


async def write(feed: Feed, live: LiveText, *pieces: str) -> None:
    """Piece by piece, each behind what `live` has already."""
    for piece in pieces:
        offset = len(live.text)
        live = LiveText(live.turn_id, live.message_id, live.attempt, live.base, live.text + piece)
        await feed.delta(CONVERSATION, live, offset)


async def kept(feed: Feed) -> str:
    live = await feed.live_text(CONVERSATION)
    assert live is not None
    return live.text


async def test_pieces_add_up(feed: Feed) -> None:
    await write(feed, text_of(1, 9, ""), "Once ", "upon ", "a time \N{PARTY POPPER}")
    assert await kept(feed) == "Once upon a time \N{PARTY POPPER}"


async def test_a_writer_that_lost_its_turn_changes_nothing_and_is_not_told(feed: Feed) -> None:
    await write(feed, text_of(1, 9, ""), "Once ")
    await write(feed, text_of(2, 10, ""), "Another ")
    async with feed.subscribe(CONVERSATION) as viewer:
        await write(feed, text_of(1, 9, "Once "), "upon a time")
        await write(feed, text_of(1, 9, ""), "From the start")
        assert await kept(feed) == "Another "
        successor = text_of(2, 10, "Another ")
        await write(feed, successor, "one")
        told = await viewer.wait(5)
    deltas = [item.delta for item in told if isinstance(item, Delta)]
    assert [(d.attempt, d.text) for d in deltas] == [(2, "one")]


async def test_text_that_redis_lost_is_written_again(feed: Feed, redis: ArqRedis) -> None:
    live = text_of(1, 9, "Once ")
    await write(feed, text_of(1, 9, ""), "Once ")
    await redis.delete(live_key(CONVERSATION))
    async with feed.subscribe(CONVERSATION) as viewer:
        await write(feed, live, "upon")
        heard: list[MessageDelta] = []

        async def told() -> bool:
            heard.extend(d.delta for d in await viewer.wait(1) if isinstance(d, Delta))
            return bool(heard)

        await until(told)
    assert await kept(feed) == "Once upon"
    assert [(d.offset, d.text) for d in heard] == [(5, "upon")]
