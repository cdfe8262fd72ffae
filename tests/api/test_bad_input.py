from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from tests.api.talk import (
    CONVERSATIONS,
    begin,
    expect_problem,
    get,
    messages_of,
    path_of,
    say,
)
from tests.fixtures.servers import CountRows

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}

BAD_BODIES: list[bytes] = [
    *(
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"1",
        b"{}{}",
        b'{"content": }',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ),
    *(b'{"content": "\xc3\x28"}', b"[" * 20_000, b'{"a":' * 20_000, b'{"content": NaN}'),
    *(b'{"content": Infinity}', b'{"content": ' + b"9" * 5000 + b"}", b'{"content": 1e999}'),
    *(b'{"content": null}', b'{"content": 1}', b'{"content": ["x"]}', b'{"content": {"a": 1}}'),
    *(b'{"content": true}', b"{}", b'{"Content": "x"}', b'{"content": "x", "more": 1}'),
    *(b'{"content": ""}', b'{"content": "  \\n\\t "}', b'{"content": "\\u00a0\\u2003"}'),
    *(b'{"content": "a\\u0000b"}', b'{"content": "\\ud800"}', b'{"content": "\\udc00\\ud800"}'),
    *(b'{"content": "a\x00b"}', b'{"content": "x", "conversation_id": "y"}'),
    json.dumps({"content": "x" * 10_001}).encode(),
    json.dumps({"content": "\U0001f600" * 10_001}).encode(),
]


async def test_a_bad_message_is_refused_and_nothing_is_written(
    client: AsyncClient, count_rows: CountRows
) -> None:
    conversation = await begin(client)
    before = await count_rows()
    for body in BAD_BODIES:
        answer = await client.post(messages_of(conversation), content=body, headers=JSON)
        assert answer.status_code == 400, body[:40]
        expect_problem(answer, 400, "invalid_request")
    assert await count_rows() == before
    assert (await get(client, path_of(conversation))) == conversation


async def test_an_empty_body_is_no_message(client: AsyncClient) -> None:
    conversation = await begin(client)
    answer = await client.post(messages_of(conversation))
    expect_problem(answer, 400, "invalid_request")


async def test_a_message_is_kept_to_the_letter_however_it_is_escaped(client: AsyncClient) -> None:
    for content in [
        *("x", "x" * 10_000, "\U0001f600" * 10_000, "\U0001f468\u200d\U0001f469", "  padded  "),
        *("'; DROP TABLE messages; --", "<script>alert(1)</script>", "\u202eabc", "line\nline"),
    ]:
        conversation = await begin(client)
        for ascii_only in (True, False):
            body = json.dumps({"content": content}, ensure_ascii=ascii_only).encode()
            answer = await client.post(messages_of(conversation), content=body, headers=JSON)
            assert answer.status_code == 202
            assert answer.json()["message"]["content"] == content
        found = await get(client, messages_of(conversation))
        assert [message["content"] for message in found["messages"]] == [content] * 2


async def test_a_bad_title_is_refused(client: AsyncClient, count_rows: CountRows) -> None:
    conversation = await begin(client)
    titles: list[Any] = [None, 1, "", "   ", "x" * 201, "a\0b", ["x"], {}]
    for title in titles:
        before = await count_rows()
        for method in ("PUT", "PATCH"):
            answer = await client.request(method, path_of(conversation), json={"title": title})
            problem = expect_problem(answer, 400, "invalid_request")
            assert problem["errors"][0]["field"] == "title"
        if title is not None:
            answer = await client.post(CONVERSATIONS, json={"title": title})
            expect_problem(answer, 400, "invalid_request")
        assert await count_rows() == before


async def test_a_title_may_have_two_hundred_characters(client: AsyncClient) -> None:
    title = "\U0001f600" * 200
    assert (await begin(client, title=title))["title"] == title


async def test_no_body_begins_a_conversation_as_an_empty_object_does(client: AsyncClient) -> None:
    requests: list[dict[str, Any]] = [
        {},
        {"json": {}},
        {"json": {"title": None}},
        {"content": b"", "headers": JSON},
    ]
    for request in requests:
        answer = await client.post(CONVERSATIONS, **request)
        assert answer.status_code == 201
        assert answer.json()["title"].startswith("Chat - ")


async def test_the_errors_name_the_field(client: AsyncClient) -> None:
    conversation = await begin(client)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"content": 1}, "content"),
        ({}, "content"),
        ({"content": " "}, "content"),
        ({"content": "x", "colour": 1}, "colour"),
    ]
    for body, field in cases:
        answer = await client.post(messages_of(conversation), json=body)
        problem = expect_problem(answer, 400, "invalid_request")
        assert [error["field"] for error in problem["errors"]] == [field]
        assert problem["errors"][0]["message"]


async def test_only_json_is_read(client: AsyncClient) -> None:
    conversation = await begin(client)
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "text/json", "x"]:
        headers = {"Content-Type": content_type}
        answer = await client.post(
            messages_of(conversation), content=b'{"content": "x"}', headers=headers
        )
        expect_problem(answer, 415, "unsupported_media_type")


async def test_json_may_name_its_charset(client: AsyncClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await client.post(CONVERSATIONS, content=b"{}", headers=headers)
    assert answer.status_code == 201


async def test_a_body_that_is_too_large_is_refused_with_a_length_and_without(
    client: AsyncClient, count_rows: CountRows
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"content": "'
        for _ in range(300):
            yield b"x" * 1024
        yield b'"}'

    conversation = await begin(client)
    before = await count_rows()
    whole = b'{"content": "' + b"x" * 300_000 + b'"}'
    for content in (whole, chunks()):
        answer = await client.post(messages_of(conversation), content=content, headers=JSON)
        expect_problem(answer, 413, "body_too_large")
    assert await count_rows() == before


async def test_a_malformed_cursor_is_refused(client: AsyncClient) -> None:
    conversation = await begin(client)
    for cursor in [
        *("", "-1", "+1", " 1", "1 ", "1_0", "1.0", "0x1", "٣", "x", "null", "1e3"),
        *("9" * 19, "9" * 30, "2026-01-01", "2026-01-01T00:00:00", "yesterday", "1:2:3", "\0"),
    ]:
        for name in ("since", "before"):
            answer = await client.get(messages_of(conversation), params={name: cursor})
            expect_problem(answer, 400, "invalid_cursor")
        events = f"{path_of(conversation)}/events"
        expect_problem(await client.get(events, params={"since": cursor}), 400, "invalid_cursor")
        if cursor.isascii() and "\0" not in cursor:
            answer = await client.get(
                events, headers={"Last-Event-ID": cursor}, params={"since": "0"}
            )
            expect_problem(answer, 400, "invalid_cursor")
        for path in (CONVERSATIONS, "/api/tasks"):
            expect_problem(await client.get(path, params={"cursor": cursor}), 400, "invalid_cursor")


async def test_a_malformed_event_cursor_is_refused(client: AsyncClient) -> None:
    events = f"{path_of(await begin(client))}/events"
    for cursor in ["0:", ":0", "0:-1", "0:x", "0:0:0", "0;1", "0:" + "9" * 20]:
        expect_problem(await client.get(events, params={"since": cursor}), 400, "invalid_cursor")


async def test_a_made_up_page_cursor_is_refused_or_finds_nothing(client: AsyncClient) -> None:
    await begin(client)
    for cursor in ["A" * 32, "_" * 32, "f" * 32, "A" * 31 + "=", "A" * 22]:
        for path in (CONVERSATIONS, "/api/tasks"):
            answer = await client.get(path, params={"cursor": cursor})
            if answer.status_code != 200:
                expect_problem(answer, 400, "invalid_cursor")


async def test_a_cursor_ahead_of_the_conversation_is_refused(client: AsyncClient) -> None:
    conversation = await begin(client)
    said = await say(client, conversation, "hello")
    last = (await get(client, path_of(conversation)))["seq"]
    events = f"{path_of(conversation)}/events"
    for path in (messages_of(conversation), events):
        answer = await client.get(path, params={"since": last + 1})
        expect_problem(answer, 400, "cursor_ahead")
    answer = await client.get(events, headers={"Last-Event-ID": f"{last + 1}:5"})
    expect_problem(answer, 400, "cursor_ahead")
    answer = await client.get(messages_of(conversation), params={"since": last, "wait": 0})
    assert answer.json()["next_since"] == last
    assert said["since"] == 0


async def test_a_limit_out_of_range_is_refused(client: AsyncClient) -> None:
    conversation = await begin(client)
    for limit in ["0", "-1", "x", "", "1.5", "999999", "9" * 40, "nan", " 1"]:
        for path in (CONVERSATIONS, messages_of(conversation), "/api/tasks"):
            answer = await client.get(path, params={"limit": limit})
            problem = expect_problem(answer, 400, "invalid_request")
            assert problem["errors"][0]["field"] == "limit"


async def test_a_wait_out_of_range_is_refused(client: AsyncClient, count_rows: CountRows) -> None:
    conversation = await begin(client)
    for wait in ["-1", "61", "x", "", "nan", "inf", "1e9"]:
        before = await count_rows()
        path = messages_of(conversation)
        for answer in (
            await client.get(path, params={"since": 0, "wait": wait}),
            await client.post(path, params={"wait": wait}, json={"content": "x"}),
        ):
            expect_problem(answer, 400, "invalid_request")
        assert await count_rows() == before


async def test_unknown_and_doubled_query_parameters_are_refused(client: AsyncClient) -> None:
    conversation = await begin(client)
    path = messages_of(conversation)
    for asked in (
        f"{path}?sinc=1",
        f"{path}?db=1",
        f"{path}?limit=1&limit=2",
        f"{path}?since=0&x=",
    ):
        expect_problem(await client.get(asked), 400, "invalid_request")
    expect_problem(await client.get(f"{path}?since=0&before=1"), 400, "invalid_request")
    answer = await client.post(f"{path}?limit=1", json={"content": "x"})
    expect_problem(answer, 400, "invalid_request")
