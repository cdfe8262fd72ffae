"""What is refused at `/chatkit`: clearly, as everywhere, and without a trace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import hypothesis
import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from shared.db import Database
from shared.feed import Feed
from tests.api.from_schema import ANYTHING
from tests.api.talk import (
    CONVERSATIONS,
    Json,
    begin,
    expect_problem,
    get,
)
from tests.api.test_chatkit import (
    chat,
    conversation_of,
    create,
    history,
    retry,
    said,
)
from tests.api.test_fuzz_schema import expect_described

pytestmark = pytest.mark.anyio

PATH = "/chatkit"
REFUSED_SECONDS = 5.0
DEEP = b"[" * 5000 + b"]" * 5000
SOMEWHERE = "019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10"
TYPES = sorted(
    [
        *("threads.create", "threads.add_user_message", "threads.retry_after_item"),
        *("threads.get_by_id", "threads.list", "threads.update", "threads.delete"),
        *("items.list", "items.feedback", "threads.custom_action", "attachments.create"),
    ]
)
NAMES = ["thread_id", "item_id", "item_ids", "input", "limit", "order", "after", "title", "kind"]


async def problem(client: AsyncClient, asked: Json, status: int, code: str) -> Json:
    async with asyncio.timeout(REFUSED_SECONDS):  # a stream would not end
        return expect_problem(await client.post(PATH, json=asked), status, code)


def fields(found: Json) -> list[str]:
    return [error["field"] for error in found["errors"]]


UNSUPPORTED: list[tuple[str, Json]] = [
    ("threads.custom_action", {"thread_id": SOMEWHERE, "action": {"type": "x"}}),
    ("threads.sync_custom_action", {"thread_id": SOMEWHERE, "action": {"type": "x"}}),
    ("threads.add_client_tool_output", {"thread_id": SOMEWHERE, "result": {}}),
    (
        "threads.add_structured_input",
        {"thread_id": SOMEWHERE, "item_id": "x", "input": {"answers": {}}},
    ),
    ("attachments.create", {"name": "a", "size": 1, "mime_type": "text/plain"}),
    ("attachments.delete", {"attachment_id": "a"}),
    ("input.transcribe", {"audio_base64": "", "mime_type": "audio/webm"}),
]


async def test_what_is_not_supported_is_refused(client: AsyncClient) -> None:
    for kind, params in UNSUPPORTED:
        asked = {"type": kind, "params": params}
        found = await problem(client, asked, 400, "invalid_request")
        assert fields(found) == ["type"], kind
        assert "not supported" in found["errors"][0]["message"]


async def test_a_type_that_nobody_knows_is_refused(client: AsyncClient) -> None:
    asked: Json = {"type": "threads.unheard", "params": {}}
    assert fields(await problem(client, asked, 400, "invalid_request")) == ["type"]


UNSAYABLE: list[tuple[Json, str]] = [
    (said("x", attachments=["atc_1"]), "attachments"),
    (said("x", inference_options={"model": "gpt"}), "inference_options"),
    (said("x", inference_options={"tool_choice": {"id": "x"}}), "inference_options"),
    (said(""), "content"),
    (said(" "), "content"),
    (said("\0"), "content"),
    (said("x" * 10_001), "content"),
    (said("x", content=[]), "content"),
]


async def test_what_cannot_be_said_leaves_no_thread(client: AsyncClient) -> None:
    for spoken, field in UNSAYABLE:
        asked = {"type": "threads.create", "params": {"input": spoken}}
        found = await problem(client, asked, 400, "invalid_request")
        assert fields(found) == [f"params.input.{field}"]
    assert not (await get(client, CONVERSATIONS))["conversations"]


OUT_OF_BOUNDS: list[tuple[str, Json, str]] = [
    ("threads.list", {"limit": 0}, "invalid_request"),
    ("threads.list", {"limit": "x"}, "invalid_request"),
    ("threads.list", {"order": "asc"}, "invalid_request"),
    ("threads.list", {"order": "up"}, "invalid_request"),
    ("threads.list", {"after": "x"}, "invalid_cursor"),
    ("threads.list", {"after": SOMEWHERE}, "invalid_cursor"),
    ("items.list", {}, "invalid_request"),
    ("items.list", {"limit": -1}, "invalid_request"),
    ("items.list", {"after": "x"}, "invalid_cursor"),
    ("items.list", {"after": SOMEWHERE}, "invalid_cursor"),
    ("items.list", {"after": "9" * 30}, "invalid_cursor"),
    ("threads.update", {"title": ""}, "invalid_request"),
    ("threads.update", {"title": "x" * 201}, "invalid_request"),
    ("threads.update", {"title": "\0"}, "invalid_request"),
    ("items.feedback", {"item_ids": [], "kind": "positive"}, "invalid_request"),
    ("items.feedback", {"item_ids": ["x"] * 101, "kind": "positive"}, "invalid_request"),
    ("items.feedback", {"item_ids": [SOMEWHERE], "kind": "great"}, "invalid_request"),
]


async def test_what_is_out_of_bounds_is_refused(client: AsyncClient) -> None:
    thread_id = (await begin(client))["id"]
    for kind, params, code in OUT_OF_BOUNDS:
        named = {"thread_id": thread_id} if params else {}
        await problem(client, {"type": kind, "params": named | params}, 400, code)


NO_REQUESTS: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"{", {}, 400, "invalid_request"),
    (b"[]", {}, 400, "invalid_request"),
    (b"", {}, 400, "invalid_request"),
    (b'{"type": "threads.list"}', {}, 400, "invalid_request"),
    (b'{"type": "threads.list", "params": []}', {}, 400, "invalid_request"),
    (b'{"type": "threads.list", "params": {"after": "\\ud800"}}', {}, 400, "invalid_request"),
    (b'{"type": "threads.list", "params": {"x": ' + DEEP + b"}}", {}, 400, "invalid_request"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b'{"x": "' + b"x" * 300_000 + b'"}', {}, 413, "body_too_large"),
    (b"{}", {"Idempotency-Key": ""}, 400, "invalid_request"),
]


async def test_what_is_no_request_is_a_problem_as_everywhere(client: AsyncClient) -> None:
    for content, named, status, code in NO_REQUESTS:
        headers = {"Content-Type": "application/json"} | named
        expect_problem(await client.post(PATH, content=content, headers=headers), status, code)


async def test_a_problem_does_not_repeat_what_was_said(client: AsyncClient) -> None:
    asked = create("a secret")
    asked["params"]["input"]["inference_options"] = "a secret"
    asked["params"]["input"]["attachments"] = {"a secret": 1}
    answer = await client.post(PATH, json=asked)
    expect_problem(answer, 400, "invalid_request")
    assert "secret" not in answer.text


@hypothesis.settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
    database=None,
)
@given(
    kind=st.sampled_from(TYPES),
    params=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5),
    named=st.booleans(),
)
async def test_no_request_makes_the_server_fail(
    client: AsyncClient, kind: str, params: Json, named: bool
) -> None:
    there = {"thread_id": (await begin(client))["id"]} if named else {}
    try:
        answer = await client.post(PATH, json={"type": kind, "params": params | there})
    except ValueError:
        return  # no JSON has such a number
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        expect_problem(answer, answer.status_code, answer.json()["code"])


async def test_what_has_an_answer_is_not_retried(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    thread_id = await conversation_of(client, db, feed, 1)
    question, answer = [item["id"] for item in await history(client, thread_id)]
    await problem(client, retry(thread_id, question), 409, "turn_not_retryable")
    found = await problem(client, retry(thread_id, answer), 400, "invalid_request")
    assert fields(found) == ["params.item_id"]


async def test_without_the_package_the_answer_says_so(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "chatkit" or name.startswith("api.chatkit."):
            monkeypatch.delitem(sys.modules, name)
    for name in ("chatkit", "chatkit.types"):
        monkeypatch.setitem(sys.modules, name, None)
    await problem(client, create("x"), 501, "chatkit_not_installed")
    assert not (await get(client, CONVERSATIONS))["conversations"]


async def test_it_is_described(client: AsyncClient, db: Database, feed: Feed) -> None:
    document = await get(client, "/schema/openapi.json")
    described: Mapping[str, Any] = document["paths"][PATH]
    assert set(described) == {"post"}
    content = described["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    for kind, params in (("threads.list", {}), ("threads.delete", {"thread_id": SOMEWHERE})):
        answer = await chat(client, kind, **params)
        expect_described(answer, described["post"], document["components"])
