from __future__ import annotations

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar

from shared.ids import new_id
from tests.api.talk import CONVERSATIONS, begin, expect_problem, get, path_of, say
from tests.api.test_auth import PAGE, routes
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

BODIES = {("POST", "messages"): {"content": "hi"}, ("PUT", ""): {"title": "x"}}
BODIES[("POST", "approvals")] = {"tool_call_id": "call_x", "decision": "approve"}
BODIES[("PATCH", "")] = BODIES[("PUT", "")]
BODIES[("PUT", "feedback")] = {"rating": "up"}


NAMES = ("{conversation_id}", "{turn_id}", "{message_id}")
Ids = tuple[str, str, str]


def private(app: Litestar) -> list[tuple[str, str]]:
    """The page is the same for everybody, whatever its address names."""
    return [(method, path) for method, path in routes(app) if path not in PAGE]


def fill(path: str, ids: Ids) -> str:
    for name, found in zip(NAMES, ids, strict=True):
        path = path.replace(name, found)
    return path


async def ask(client: AsyncClient, method: str, path: str, headers: dict[str, str]) -> Response:
    tail = path.rsplit("/", 1)[-1]
    body = BODIES.get((method, tail)) or BODIES.get((method, ""))
    return await client.request(method, path, json=body, headers=headers)


async def test_what_belongs_to_alice_is_for_bob_what_does_not_exist(
    client: AsyncClient, app: Litestar, alice: Person, bob: Person
) -> None:
    """Every route with an id in it; the answers must not differ in a single byte."""
    conversation = await begin(client, title="private")
    said = await say(client, conversation, "hello")
    turn, message = said["turn"], said["message"]
    before = await get(client, path_of(conversation))
    matrix = [(method, path) for method, path in private(app) if "{conversation_id}" in path]
    matrix += [(method, path) for method, path in private(app) if "{turn_id}" in path]
    matrix += [(method, path) for method, path in private(app) if "{message_id}" in path]
    assert len(matrix) >= 16
    for method, path in matrix:

        def at(person: Person, ids: Ids, path: str = path) -> str:
            return fill(path, ids).replace("{user_id}", person.owner)

        unknown = str(new_id())
        found = at(bob, (conversation["id"], turn["id"], message["id"]))
        theirs = await ask(client, method, found, bob.headers)
        expect_problem(theirs, 404, "not_found")
        for some_id in (unknown, "no-uuid", "%00"):
            for person in (alice, bob):
                asked = at(person, (some_id, some_id, some_id))
                other = await ask(client, method, asked, person.headers)
                assert other.content == theirs.content, (method, asked)
                assert other.status_code == 404
    assert await get(client, path_of(conversation)) == before


async def test_lists_show_each_their_own(client: AsyncClient, bob: Person) -> None:
    await begin(client, title="private")
    answer = await client.get(CONVERSATIONS, headers=bob.headers)
    assert answer.json() == {"conversations": [], "next_cursor": None}


async def test_what_is_deleted_is_gone_everywhere(
    client: AsyncClient, app: Litestar, alice: Person
) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    ids = (conversation["id"], said["turn"]["id"], said["message"]["id"])
    assert (await client.delete(path_of(conversation))).status_code == 204
    for method, path in private(app):
        if not any(name in path for name in NAMES):
            continue
        filled = fill(path, ids).replace("{user_id}", "alice")
        answer = await ask(client, method, filled, alice.headers)
        expect_problem(answer, 404, "not_found")
    assert (await get(client, CONVERSATIONS))["conversations"] == []
