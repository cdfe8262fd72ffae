"""Another owner's stream, rows and tasks are out of reach, whoever asks: a client or the model."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from uuid import UUID

import pytest
from httpx import AsyncClient

from shared.connection import EVERYONE
from shared.feed import Feed
from shared.ids import new_id
from shared.publisher import MISSED, channel, live_key
from shared.redis import Redis
from shared.store.proof import rows_of
from tests.api.talk import begin, expect_problem, path_of, say
from tests.faults.test_rings import Bomb
from tests.fixtures.people import Person, make_token
from tests.fixtures.service import Service
from tests.fixtures.sse import Reader, listen
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from worker.history import calls_of

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

pytestmark = pytest.mark.anyio


async def test_a_stream_of_anothers_conversation_is_like_one_that_is_not_there(
    client: AsyncClient, bob: Person
) -> None:
    conversation = await begin(client)
    await say(client, conversation, "private")
    missing = f"{path_of(str(new_id()))}/events"
    for cursor in ("0", "1", "2:5", "junk", "999999"):
        told = bob.headers | {"Last-Event-ID": cursor}
        theirs = await client.get(f"{path_of(conversation)}/events", headers=told)
        expect_problem(theirs, 404, "not_found")
        assert theirs.content == (await client.get(missing, headers=told)).content


async def test_a_cursor_is_only_a_number_and_opens_nothing(service: Service) -> None:
    """Taken from Alice's conversation, it shows Bob what is his."""
    theirs = await service.conversation()
    await service.say(theirs, "say private", wait=20)
    name = f"bob-{new_id()}"
    bob = Person(name, make_token(service.api.settings, name))
    async with AsyncClient(base_url=service.url, headers=bob.headers, timeout=30) as client:
        his = await begin(client)
        await client.post(f"{path_of(his)}/messages?wait=20", json={"content": "say his"})
        for header in ("junk", "1; 2", "1:2:3", "-1", "1e9", theirs, "999999", "x" * 5000):
            events = f"{path_of(his)}/events"
            answer = await client.get(events, headers={"Last-Event-ID": header})
            assert answer.status_code == 400, header
    reader = Reader(last_id="2")
    raw = await listen(
        service.url, his["id"], bob.headers, reader=reader, until=lambda r: bool(r.answers)
    )
    assert reader.answers == ["his"]
    assert b"private" not in raw
    assert theirs.encode() not in raw


async def test_a_model_that_was_talked_into_it_reaches_nobody_elses_rows(
    desk: Desk, stand_in: StandIn
) -> None:
    """As if a web page or a task had told it to: ids of Bob's, fields that name him."""
    desk.owner = "bob"
    _, history = await desk.ask('call create_task {"title": "private"}')
    call = (history[1].tool_calls or [])[0]
    task, theirs = call.result["id"], str(history[0].conversation_id)
    async with desk.db.snapshot(EVERYONE) as tx:
        before = await rows_of(tx, "bob")
    assert len(before) >= 6
    desk.owner = "alice"
    named = [{name: "bob"} for name in ("owner", "user_id", "userId", "tenant", "principal")]
    asked = [
        *(("create_task", {"title": "x"} | extra) for extra in named),
        *(("list_tasks", extra) for extra in named),
        *((tool, {"task_id": task}) for tool in ("complete_task", "delete_task")),
        *((tool, {"task_id": task, "owner": "bob"}) for tool in ("complete_task", "delete_task")),
        ("update_task", {"task_id": task, "title": "taken"}),
        ("list_tasks", {"conversation_id": theirs}),
        ("list_tasks", {"sql": "'; SET LOCAL parley.owner = 'bob'; --"}),
        ("complete_task", {"task_id": f"{task}' OR '1'='1"}),
    ]
    said = "\n".join(f"call {tool} {json.dumps(arguments)}" for tool, arguments in asked)
    turn, history = await desk.ask(said)
    calls = calls_of(history, turn.id)
    assert [call.status for call in calls] == ["failed"] * len(asked)
    codes = {call.result["error"]["code"] for call in calls}
    assert codes == {"invalid_arguments", "task_not_found"}
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await rows_of(tx, "bob") == before
    assert "private" not in json.dumps(stand_in.requests[-1])


async def test_a_pickle_in_the_feed_or_in_the_text_in_flight_is_never_opened(
    feed: Feed, redis: Redis, tmp_path: Path
) -> None:
    """In the queue neither: tests/faults/test_rings.py."""
    marker = tmp_path / "opened"
    bomb = pickle.dumps(Bomb(marker))
    conversation_id: UUID = new_id()
    for planted in (bomb, b"0" * 20 + bomb, b"0" * 20 + b"{}\n" + bomb, b"\xff" * 40):
        await redis.set(live_key(conversation_id), planted)
        assert await feed.live_text(conversation_id) is None
    async with feed.subscribe(conversation_id) as viewer:
        await redis.publish(channel(conversation_id), bomb)
        # Whoever hears what can't be read is sent to the rows.
        assert await viewer.wait(5) == [MISSED]
    assert feed.healthy
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists(), "the bomb is none"
