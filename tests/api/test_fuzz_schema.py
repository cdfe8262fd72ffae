"""Whatever is asked of any route: no 5xx, and every answer is one that the document describes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import hypothesis
import pytest
from httpx import AsyncClient, Response
from hypothesis import HealthCheck
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from tests.api.from_schema import Asked, Document
from tests.api.talk import begin, get, say

pytestmark = pytest.mark.anyio

ROUNDS = 8
EVENT_STREAM = "text/event-stream"


def expect_described(
    answer: Response, operation: Mapping[str, Any], components: Mapping[str, Any]
) -> None:
    described: Mapping[str, Any] | None = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{answer.status_code} is not described"
    content: Mapping[str, Any] = described.get("content", {})
    if not content:
        assert not answer.content
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content
    schema = content[media_type]["schema"] | {"components": components}
    said = answer.text if media_type == "text/plain" else answer.json()
    Draft202012Validator(schema).validate(said)  # pyright: ignore[reportUnknownMemberType]


@pytest.fixture
async def document(client: AsyncClient) -> Mapping[str, Any]:
    return await get(client, "/schema/openapi.json")


async def test_every_answer_is_one_that_the_document_describes(
    client: AsyncClient, document: Mapping[str, Any]
) -> None:
    conversation = await begin(client, title="there")
    turn = (await say(client, conversation, "hello"))["turn"]
    ids: list[str] = [conversation["id"], turn["id"]]
    described = Document(document)
    seen: set[int] = set()
    for method, path, operation in described.operations:
        ok = operation["responses"].get("200", {}).get("content", {})
        if EVENT_STREAM in ok or method == "DELETE":
            continue
        for asked in drawn(described.requests(method, path, operation, ids)):
            answer = await send(client, asked)
            assert answer.status_code < 500 or path == "/health/ready", asked
            expect_described(answer, operation, document["components"])
            seen.add(answer.status_code)
    assert seen >= {200, 201, 202, 400, 403, 404}


async def send(client: AsyncClient, asked: Asked) -> Response:
    headers = {name.encode(): value.strip().encode() for name, value in asked.headers.items()}
    if asked.body is not None:
        headers[b"Content-Type"] = b"application/json"
    return await client.request(
        asked.method, asked.path, params=asked.query, headers=headers, content=asked.body
    )


def drawn(requests: st.SearchStrategy[Asked]) -> Generator[Asked]:
    """The same ones each time."""
    found: list[Asked] = []

    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=ROUNDS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @hypothesis.given(requests)
    def draw(asked: Asked) -> None:
        found.append(asked)

    draw()
    yield from found


async def test_an_answer_that_the_document_does_not_describe_is_noticed(
    client: AsyncClient, document: Mapping[str, Any]
) -> None:
    operation = document["paths"]["/api/tasks"]["get"]
    components = document["components"]
    expect_described(await client.get("/api/tasks"), operation, components)
    with pytest.raises(ValidationError):
        expect_described(Response(200, json={"tasks": [{"id": 1}]}), operation, components)
    with pytest.raises(AssertionError):
        expect_described(Response(418, json={}), operation, components)
