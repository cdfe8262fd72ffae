"""Search: what was said is found, by its owner alone, whatever is typed."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.store.search import CONSIDERED, MARK, RANKED, UNMARK
from tests.api.talk import (
    Json,
    answer_turn,
    begin,
    claim_turn,
    expect_problem,
    get,
    path_of,
    say,
)
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

SEARCH = "/api/chat/search"
FILL = """
    INSERT INTO messages (id, conversation_id, user_id, seq, changed_seq, role, content, status)
    SELECT ('f' || substr(gen_random_uuid()::text, 2))::uuid, :conversation, 'alice', n, n,
           'user', 'filler', 'completed'
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n
"""
"""With ids that are newer than any."""

HOSTILE = [
    *("'", "''", '"', '""', "\\", "%", "_", ":*", "a:*", "!", "&", "|", "<->", "()", "(a", "-"),
    *("- -", "or", "or or", "OR a", "a or", "a or ", "-or", "'; DROP TABLE messages; --"),
    *("a\\", "a' | b", "a:b:c", "<b>", "\u202e", "🙂", "a🙂", "ß", "İ", "\ue000", "e-mai"),
    *("foo@bar.co", "http://x.y/z", "1.5", "a_b", "_", "x" * 200, "a " * 100, "-" * 200),
    *("- " * 100, "-'" * 100, '-"' * 100, "-a " * 60, "a--b", "-(" * 100),
    *("- - - - a", "---a", '-"-"', "-<" * 100, "-😀 " * 60, "\u0301" * 100, "'a\\", "नमस्त"),
    *('"a' + " b" * 98, "\n", "\t", " ", "$1", ":q", "%s", "{}", "\x01", "\x7f", "a\ufeff"),
]


async def found(client: AsyncClient, q: str, **params: Any) -> list[str]:
    """The snippets as plain text."""
    results = (await get(client, SEARCH, q=q, **params))["results"]
    return ["".join(piece["text"] for piece in result["snippet"]) for result in results]


async def tell(client: AsyncClient, *contents: str) -> Json:
    conversation = await begin(client)
    for content in contents:
        await say(client, conversation, content)
    return conversation


async def test_a_result_says_where_it_was_said_and_marks_the_match(client: AsyncClient) -> None:
    conversation = await begin(client, title="Garden")
    said = (await say(client, conversation, "Water the Plants on Monday"))["message"]
    results = (await get(client, SEARCH, q="plants"))["results"]
    assert [
        {name: value for name, value in result.items() if name != "rank"} for result in results
    ] == [
        {
            "conversation_id": conversation["id"],
            "conversation_title": "Garden",
            "message_id": said["id"],
            "seq": said["seq"],
            "role": "user",
            "created_at": said["created_at"],
            "snippet": [
                {"text": "Water the ", "match": False},
                {"text": "Plants", "match": True},
                {"text": " on Monday", "match": False},
            ],
        }
    ]
    assert results[0]["rank"] > 0


async def test_answers_are_found_and_the_results_of_tools_are_not(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await tell(client, "hello")
    turn = await claim_turn(db, feed, conversation["id"])
    await answer_turn(db, feed, turn, "a needle in the answer")
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text(
                "INSERT INTO messages (id, conversation_id, user_id, seq, changed_seq, role,"
                " content, status, tool_call_id) VALUES (gen_random_uuid(), :id, 'alice', 99, 99,"
                " 'tool', 'a needle in a tool', 'completed', 'call_1')"
            ),
            {"id": conversation["id"]},
        )
    assert await found(client, "needle") == ["a needle in the answer"]


async def test_the_best_match_comes_first_and_of_equals_the_newest(client: AsyncClient) -> None:
    await tell(client, "apple one", "apple apple apple two", "apple three")
    assert await found(client, "apple") == ["apple apple apple two", "apple three", "apple one"]


async def test_the_last_word_may_be_the_beginning_of_one(client: AsyncClient) -> None:
    await tell(client, "plan the holidays", "plant a tree")
    assert set(await found(client, "pla")) == {"plan the holidays", "plant a tree"}
    assert await found(client, "the holi") == ["plan the holidays"]
    assert await found(client, "holi the") == []
    assert await found(client, '"holi"') == []
    assert await found(client, "pla ") == []


async def test_the_beginning_of_a_word_is_one_in_any_script_and_of_addresses(
    client: AsyncClient,
) -> None:
    contents = ["नमस्ते", "می‌خواهم", "b.example.com", "foo@bar.com", "e-mails", "o'brien", "a/bcd"]
    await tell(client, *contents)
    beginnings = ["नमस्त", "می‌خو", "b.example.co", "foo@bar.co", "e-mai", "o'bri", "a/bc"]
    for content, beginning in zip(contents, beginnings, strict=True):
        assert await found(client, beginning) == [content]


async def test_phrases_alternatives_and_exclusions(client: AsyncClient) -> None:
    await tell(client, "red green", "green red", "blue")
    assert await found(client, '"red green"') == ["red green"]
    assert set(await found(client, "blue or red")) == {"red green", "green red", "blue"}
    assert await found(client, 'red -"red green"') == ["green red"]
    assert await found(client, "-green") == ["blue"]
    for excluding in ("red -😀 -green", "red - -green", 'red -"x" -"green"', "red -(-green"):
        assert await found(client, excluding) == [], excluding
    for naming in ("--green", "red --green", "red-- green", "red - green"):
        assert set(await found(client, naming)) == {"red green", "green red"}, naming


async def test_pages_are_whole_and_without_doubles(client: AsyncClient) -> None:
    await tell(client, *(f"pebble {'pebble ' * (n % 3)}{n}" for n in range(11)))
    every = [r["message_id"] for r in (await get(client, SEARCH, q="pebble"))["results"]]
    assert len(set(every)) == 11
    for limit in (1, 4, 11):
        shown: list[str] = []
        params: Json = {"q": "pebble", "limit": limit}
        while True:
            page = await get(client, SEARCH, **params)
            assert len(page["results"]) <= limit
            shown += [result["message_id"] for result in page["results"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert shown == every


async def test_bob_finds_nothing_that_alice_said(client: AsyncClient, bob: Person) -> None:
    await tell(client, "a secret of mine")
    answer = await client.get(SEARCH, params={"q": "secret"}, headers=bob.headers)
    assert answer.json() == {"results": [], "next_cursor": None}
    assert await found(client, "secret") == ["a secret of mine"]


async def test_what_was_deleted_or_withdrawn_is_not_found(
    client: AsyncClient, db: Database
) -> None:
    gone = await tell(client, "needle one")
    assert (await client.delete(path_of(gone))).status_code == 204
    await tell(client, "needle two", "needle three")
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(
            text("UPDATE messages SET status = 'withdrawn' WHERE content = 'needle two'")
        )
    assert await found(client, "needle") == ["needle three"]


async def test_whatever_is_typed_is_words_and_never_an_error(client: AsyncClient) -> None:
    await tell(client, "7")
    for q in HOSTILE:
        answer = await client.get(SEARCH, params={"q": q})
        assert answer.status_code == 200, q
        without = q in {"-or", "-a " * 60, "-😀 " * 60}
        assert len(answer.json()["results"]) == (1 if without else 0), q


async def test_of_a_long_message_the_snippet_is_a_part_of_plain_words(client: AsyncClient) -> None:
    await tell(client, "before " * 300 + "the needle here " + "after " * 300)
    (snippet,) = await found(client, "needle")
    assert "the needle here" in snippet
    assert len(snippet) < 400


async def test_what_is_said_cannot_put_marks_or_markup_into_a_snippet(client: AsyncClient) -> None:
    await tell(client, f"<img src=x onerror=alert(1)> {MARK}fake{UNMARK} needle <b>bold</b>")
    (result,) = (await get(client, SEARCH, q="needle"))["results"]
    assert [piece["text"] for piece in result["snippet"] if piece["match"]] == ["needle"]
    assert not any(mark in piece["text"] for piece in result["snippet"] for mark in (MARK, UNMARK))


async def test_a_bad_request_is_refused(client: AsyncClient) -> None:
    for params in [
        *({}, {"q": ""}, {"q": "x" * 201}, {"q": "a\0b"}, {"q": "a", "limit": 0}),
        *({"q": "a", "limit": 51}, {"q": "a", "x": 1}),
    ]:
        expect_problem(await client.get(SEARCH, params=params), 400, "invalid_request")
    for cursor in ("x", "f" * 27, "f4AAAAAAAAAAAAAAAAAAAAAAAAA", "1"):
        answer = await client.get(SEARCH, params={"q": "a", "cursor": cursor})
        expect_problem(answer, 400, "invalid_cursor")


async def test_what_was_looked_for_is_in_no_log_line(
    client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await get(client, SEARCH, q="somethingprivate")
    await client.get(SEARCH, params={"q": "somethingprivate", "limit": 0})
    lines = capsys.readouterr()
    assert lines.out.count("http_request") == 2
    assert "somethingprivate" not in lines.out + lines.err


async def test_only_so_many_of_the_newest_messages_are_looked_through(
    client: AsyncClient, db: Database
) -> None:
    conversation = (await tell(client, "needle of old"))["id"]
    for first, last, expected in (
        (100, 98 + CONSIDERED, ["needle of old"]),
        (99 + CONSIDERED, 99 + CONSIDERED, []),
    ):
        async with db.transaction(EVERYONE) as tx:
            asked = {"conversation": conversation, "first": first, "last": last}
            await tx.execute(text(FILL), asked)
        assert await found(client, "needle") == expected


async def test_what_was_deleted_takes_no_place_among_those_that_are_looked_through(
    client: AsyncClient, db: Database
) -> None:
    await tell(client, "needle of old")
    gone = await begin(client)
    async with db.transaction(EVERYONE) as tx:
        asked = {"conversation": gone["id"], "first": 100, "last": 99 + CONSIDERED}
        await tx.execute(text(FILL), asked)
    assert await found(client, "needle") == []
    assert (await client.delete(path_of(gone))).status_code == 204
    assert await found(client, "needle") == ["needle of old"]


async def test_of_very_many_matches_the_newest_are_ranked(
    client: AsyncClient, db: Database
) -> None:
    conversation = (await tell(client, "filler filler of old"))["id"]
    for first, last, best in (
        (100, 98 + RANKED, "filler filler of old"),
        (99 + RANKED, 99 + RANKED, "filler"),
    ):
        async with db.transaction(EVERYONE) as tx:
            asked = {"conversation": conversation, "first": first, "last": last}
            await tx.execute(text(FILL), asked)
        assert await found(client, "filler", limit=1) == [best]
