"""How many turns may wait in one conversation."""

from __future__ import annotations

import asyncio

import pytest

from shared.settings import Settings
from tests.api.talk import begin, expect_problem, limited, messages_of, say, say_once
from tests.fixtures.people import Person
from tests.fixtures.servers import CountRows

pytestmark = pytest.mark.anyio


async def test_a_full_queue_takes_no_more_and_writes_nothing(
    settings: Settings, alice: Person, count_rows: CountRows
) -> None:
    async with limited(settings, alice, limit_queued_turns=3) as client:
        conversation = await begin(client)
        said = await asyncio.gather(
            *(
                client.post(messages_of(conversation), json={"content": str(number)})
                for number in range(8)
            )
        )
        refused = [answer for answer in said if answer.status_code != 202]
        assert len(refused) == 5
        for answer in refused:
            expect_problem(answer, 429, "queue_full")
            assert int(answer.headers["retry-after"]) > 0
        before = await count_rows()
        full = await say_once(client, conversation)
        expect_problem(full, 429, "queue_full")
        again = await client.post(
            "/api/chat",
            json={"message": "x", "conversation_id": conversation["id"]},
            params={"wait": 0},
        )
        expect_problem(again, 429, "queue_full")
        assert await count_rows() == before
        turns = (await client.get(messages_of(conversation))).json()["turns"]
        await client.post(f"/api/chat/turns/{turns[0]['id']}/cancel")
        taken = await say_once(client, conversation)
        assert taken.status_code == 202, "the key is as if never used"


async def test_a_retry_waits_like_any_other(settings: Settings, alice: Person) -> None:
    async with limited(settings, alice, limit_queued_turns=2) as client:
        conversation = await begin(client)
        turns = [(await say(client, conversation, str(n)))["turn"] for n in range(2)]
        cancelled = await client.post(f"/api/chat/turns/{turns[1]['id']}/cancel")
        assert cancelled.status_code == 202
        retry = f"/api/chat/turns/{turns[1]['id']}/retry"
        assert (await client.post(retry)).status_code == 202
        await client.post(f"/api/chat/turns/{turns[1]['id']}/cancel")
    async with limited(settings, alice, limit_queued_turns=1) as client:
        expect_problem(await client.post(retry), 429, "queue_full")
        assert (await client.get(f"/api/chat/turns/{turns[1]['id']}")).json()[
            "status"
        ] == "cancelled"
