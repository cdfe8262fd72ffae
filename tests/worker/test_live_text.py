"""The text in flight is one writer's, whoever else still writes."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from arq.connections import ArqRedis
from redis.exceptions import ConnectionError as RedisConnectionError

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


async def test_a_piece_that_is_told_twice_stands_there_once(feed: Feed) -> None:
    await write(feed, text_of(1, 9, ""), "Once ")
    live = text_of(1, 9, "Once ")
    await write(feed, live, "upon ")
    await write(feed, live, "upon a time")
    assert await kept(feed) == "Once upon a time"


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "told-twice"])
async def test_half_a_text_is_never_taken_for_the_whole(
    feed: Feed, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """Redis is gone just when what it lost should be written again."""
    await write(feed, text_of(1, 9, ""), "Once ")
    if lost:
        await redis.delete(live_key(CONVERSATION))
    else:
        await write(feed, text_of(1, 9, "Once "), "upon")
    keep: Any = feed._keep  # pyright: ignore[reportPrivateUsage]
    calls = count()

    async def keep_once(*given: Any) -> Any:
        if next(calls):
            raise RedisConnectionError
        return await keep(*given)

    monkeypatch.setattr(feed, "_keep", keep_once)
    with pytest.raises(RedisConnectionError):
        await write(feed, text_of(1, 9, "Once "), "upon")
    assert await redis.get(live_key(CONVERSATION)) is None
