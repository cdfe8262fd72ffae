from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.api.talk import CONVERSATIONS, begin, expect_problem, messages_of, path_of

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


bodies = st.one_of(
    st.binary(max_size=60),
    anything.map(encoded),
    st.dictionaries(st.sampled_from(["content", "title"]), anything, max_size=2).map(encoded),
)


@hypothesis.settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
    database=None,
)
@given(body=bodies, query=st.text(max_size=12), header=st.binary(max_size=12))
async def test_no_body_query_or_header_makes_the_server_fail(
    client: AsyncClient, body: bytes, query: str, header: bytes
) -> None:
    conversation = await begin(client)
    path = path_of(conversation)
    answers = [
        await client.post(CONVERSATIONS, content=body, headers=JSON),
        await client.post(messages_of(conversation), content=body, headers=JSON),
        await client.put(path, content=body, headers=JSON),
        await client.get(messages_of(conversation), params={"since": query, "wait": 0}),
        await client.get(messages_of(conversation), params={"before": query}),
        await client.get(CONVERSATIONS, params={"cursor": query, "limit": query}),
        await client.get(CONVERSATIONS, params={query: query}),
        await client.get(f"{CONVERSATIONS}/{quote(query, safe='')}"),
        await client.get(CONVERSATIONS, headers={b"Authorization": header}),
        await client.post(CONVERSATIONS, content=body, headers={b"Content-Type": header}),
        await client.post(CONVERSATIONS, headers={b"Idempotency-Key": header}),
    ]
    for answer in answers:
        assert answer.status_code < 500, (answer.request, body, query, header)
        if answer.status_code >= 400:
            expect_problem(answer, answer.status_code, answer.json()["code"])
