"""Export: the whole history, in pages of its own, as it was said."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import unescape
from typing import cast
from uuid import UUID

import httpx
import msgspec
import pytest
from httpx import AsyncClient
from markdown_it import MarkdownIt
from msgspec.structs import replace
from sqlalchemy import QueuePool, text

from api import markdown
from api.export import Exporter, file_name
from api.samples import ASKING_MESSAGE, CONVERSATION, FEEDBACK, TURN
from api.wire import Export
from shared.connection import EVERYONE
from shared.db import Database
from shared.errors import NotFound
from shared.events import TurnError
from shared.feed import Feed
from shared.store.calls import finish_call, new_call, start_calls
from shared.store.conversations import find_conversation
from shared.store.sequence import take_seqs
from shared.text import one_line
from tests.api.talk import Json, answer_turn, begin, claim_turn, expect_problem, get, path_of, say
from tests.api.test_feedback import feedback_on
from tests.fixtures.people import Person

pytestmark = pytest.mark.anyio

HOSTILE = "# No heading\n\n```\n````` <b>x</b> \\ 太 🙂\n## Assistant · now\n\ttab "
UNCLOSED = [
    *("```", "```` ~~~", "~~~", "<!-- ", "<pre>", "<script>", "<![CDATA[", "<?php", "<!DOCTYPE"),
    *("<div>", "<style>", "<textarea>", "# a", "a\n===", "a\n---", "## Assistant · 2026-03-02"),
    *("\r## Assistant", "a\r\n\r\n## User", "\n\n## Feedback", "- a\n\n  ```", "> ```", ">", "\n"),
    *("    ## a", "\t```", "[a]: <", "1. <!--", "| a |\n|---|", "\\", "&#35; a", "\u2028# a", " "),
    *("a\x0b# a", "a\x0c\n# a", "a\x85# a", "***", "<a\nb='", "`", "<"),
]
FILL = """
    INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq, role, content,
                          status)
    SELECT gen_random_uuid(), c.id, c.user_id, NULL, n + 10, n + 10,
           CASE n % 2 WHEN 0 THEN 'assistant' ELSE 'user' END, 'message ' || n, 'completed'
    FROM conversations c, generate_series(1, CAST(:count AS int)) n
"""


def export_of(conversation: Json | str, form: str = "json") -> str:
    return f"{path_of(conversation)}/export?format={form}"


async def talk_with_a_tool(client: AsyncClient, db: Database, feed: Feed) -> Json:
    """A question, a call with a hostile result, an answer, and a rating."""
    conversation = await begin(client, title='My "plans"/ für\r\n2026 🙂')
    await say(client, conversation, HOSTILE)
    turn = await claim_turn(db, feed, conversation["id"])
    call = new_call("list_tasks", {"status": HOSTILE})
    async with db.transaction(EVERYONE) as tx:
        seq = await take_seqs(tx, turn.conversation_id, 2, messages=2)
        await tx.execute(
            text(
                "INSERT INTO messages (id, conversation_id, user_id, turn_id, seq, changed_seq,"
                " role, content, status, tool_calls) VALUES (gen_random_uuid(), :conversation,"
                " 'alice', :turn, :seq, :seq, 'assistant', '', 'completed', CAST(:calls AS jsonb))"
            ),
            {
                "conversation": turn.conversation_id,
                "turn": turn.id,
                "seq": seq,
                "calls": msgspec.json.encode([call]).decode(),
            },
        )
        await start_calls(
            tx,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            seq=seq + 1,
            calls=[call],
        )
        done = await take_seqs(tx, turn.conversation_id, 1)
        await finish_call(tx, call.id, seq=done, status="completed", result={"said": HOSTILE})
    await answer_turn(db, feed, turn, HOSTILE)
    page = await get(client, f"{path_of(conversation)}/messages")
    rated = await client.put(
        feedback_on(page["messages"][-1]), json={"rating": "down", "comment": HOSTILE}
    )
    assert rated.status_code == 200, rated.text
    return conversation


async def test_json_has_what_the_routes_show(client: AsyncClient, db: Database, feed: Feed) -> None:
    conversation = await talk_with_a_tool(client, db, feed)
    answer = await client.get(export_of(conversation))
    assert answer.headers["content-type"] == "application/json"
    exported = answer.json()
    msgspec.convert(exported, Export, strict=False)
    page = await get(client, f"{path_of(conversation)}/messages")
    ratings = await get(client, f"{path_of(conversation)}/feedback")
    assert exported["conversation"] == await get(client, path_of(conversation))
    assert exported["messages"] == page["messages"]
    assert len(exported["messages"]) == 4
    assert exported["turns"] == page["turns"]
    assert exported["feedback"] == ratings["feedback"]
    assert len(exported["feedback"]) == 1


async def test_markdown_holds_every_text_as_it_was_said(
    client: AsyncClient, db: Database, feed: Feed
) -> None:
    conversation = await talk_with_a_tool(client, db, feed)
    answer = await client.get(export_of(conversation, "markdown"))
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    written = answer.content.decode()
    assert written.startswith('# My "plans"/ für 2026 🙂\n')
    assert written.count(HOSTILE.replace("\n", "\n> ").replace("> \n", ">\n")) == 3
    assert len(headings_of(written)) == 5
    assert "Tool call · completed" in written
    assert "## Feedback" in written
    (block,) = re.findall(r"^(`{3,})json\n(.*?)\n\1$", written, re.MULTILINE | re.DOTALL)
    assert json.loads(block[1]) == {
        "tool_name": "list_tasks",
        "arguments": {"status": HOSTILE},
        "result": {"said": HOSTILE},
    }


def headings_of(written: str) -> list[str]:
    """As a reader of Markdown sees them, those within quotations left out."""
    tokens = MarkdownIt("commonmark").parse(written)
    return [
        tokens[index + 1].content
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


@pytest.mark.parametrize("said", UNCLOSED)
def test_nothing_that_is_said_reaches_beyond_its_place(said: str) -> None:
    conversation = replace(CONVERSATION, title=f"{said} #")
    message = replace(ASKING_MESSAGE, content=said)
    failed = replace(TURN, error=TurnError("internal", said, retryable=True))
    written = (
        markdown.head(conversation, CONVERSATION.created_at)
        + markdown.of_message(message) * 2
        + "## Turns that failed\n\n"
        + markdown.of_turn(failed) * 2
        + "## Feedback\n\n"
        + markdown.of_feedback(replace(FEEDBACK, comment=said)) * 2
        + "## End\n"
    )
    time = f"{message.created_at:%Y-%m-%d %H:%M:%S} UTC"
    title, *others = headings_of(written)
    assert others == [f"Assistant · {time}"] * 2 + ["Turns that failed", "Feedback", "End"]
    shown = MarkdownIt("commonmark").render(f"# {title}")
    assert unescape(re.sub("<[^>]*>", "", shown)).strip() == one_line(f"{said} #", 200)
    tokens = MarkdownIt("commonmark").parse(written)
    kinds = [token.type for token in tokens if token.level == 0]
    assert kinds.count("blockquote_open") == 4
    assert "html_block" not in kinds
    assert kinds.count("fence") == 2 * len(message.tool_calls or ())


def test_a_fence_is_longer_than_any_within() -> None:
    for ticks in (0, 1, 3, 5, 40):
        inside = f"a\n{'`' * ticks}\nb"
        lines = markdown.fenced(inside).splitlines()
        assert lines[0] == lines[lines.index("b") + 1]
        assert len(lines[0]) > max(ticks, 2)
    assert ASKING_MESSAGE.tool_calls is not None
    assert "````" not in markdown.of_call(ASKING_MESSAGE.tool_calls[0])


async def test_ten_thousand_messages_come_whole_in_order_and_in_small_pieces(
    client: AsyncClient, db: Database
) -> None:
    conversation = await begin(client)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text(FILL), {"count": 10_000})
        await tx.execute(text("UPDATE conversations SET last_seq = 10010"))
        found = await find_conversation(tx, UUID(conversation["id"]), owner="alice")
    assert found is not None
    pieces = [piece async for piece in Exporter(db, found, owner="alice").json()]
    exported = json.loads(b"".join(pieces))
    assert [m["content"] for m in exported["messages"]] == [
        f"message {n}" for n in range(1, 10_001)
    ]
    assert max(map(len, pieces)) < 100_000


async def test_what_is_said_while_it_runs_is_not_in_it(client: AsyncClient, db: Database) -> None:
    conversation = await begin(client)
    await say(client, conversation, "before")
    async with db.snapshot(EVERYONE) as tx:
        found = await find_conversation(tx, UUID(conversation["id"]), owner="alice")
    assert found is not None
    pieces: list[bytes] = []
    async for piece in Exporter(db, found, owner="alice").json():
        pieces.append(piece)
        if len(pieces) == 2:
            await say(client, conversation, "meanwhile")
    exported = json.loads(b"".join(pieces))
    assert [m["content"] for m in exported["messages"]] == ["before"]
    assert len(exported["turns"]) == 1


async def test_no_connection_is_held_while_the_client_reads_and_deletion_ends_it(
    client: AsyncClient, db: Database
) -> None:
    conversation = await begin(client)
    await say(client, conversation, "before")
    async with db.snapshot(EVERYONE) as tx:
        found = await find_conversation(tx, UUID(conversation["id"]), owner="alice")
    assert found is not None
    body = Exporter(db, found, owner="alice").json()
    for _ in range(4):
        await anext(body)
        assert cast("QueuePool", db.engine.pool).checkedout() == 0
    assert (await client.delete(path_of(conversation))).status_code == 204
    with pytest.raises(NotFound):
        async for _ in body:
            pass


async def test_bob_cannot_export_what_is_alices(client: AsyncClient, bob: Person) -> None:
    conversation = await begin(client, title="private")
    for form in ("json", "markdown"):
        answer = await client.get(export_of(conversation, form), headers=bob.headers)
        expect_problem(answer, 404, "not_found")
        assert "content-disposition" not in answer.headers
    expect_problem(await client.get(export_of(conversation, "pdf")), 400, "invalid_request")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("What is on my list today?", "what-is-on-my-list-today"),
        ('a"; filename="../../etc/passwd\r\nSet-Cookie: x', "a-filename-etc-passwd-set-cookie-x"),
        ("Pläne für Zoë", "plane-fur-zoe"),
        ("太 🙂 \u202e", "conversation"),
        ("...", "conversation"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_file_name_is_safe_everywhere(title: str, name: str) -> None:
    named = replace(CONVERSATION, title=title, created_at=datetime(2026, 3, 2, tzinfo=UTC))
    assert file_name(named, "json") == f"{name}-2026-03-02.json"


async def test_the_file_name_is_in_the_header(client: AsyncClient) -> None:
    conversation = await begin(client, title='a"b\r\nc')
    answer: httpx.Response = await client.get(export_of(conversation, "markdown"))
    day = conversation["created_at"][:10]
    assert answer.headers["content-disposition"] == f'attachment; filename="a-b-c-{day}.md"'


async def test_both_forms_are_in_the_document(client: AsyncClient) -> None:
    paths = (await get(client, "/schema/openapi.json"))["paths"]
    described = paths["/api/chat/conversations/{conversation_id}/export"]["get"]["responses"]["200"]
    conversation = await begin(client)
    for form in ("json", "markdown"):
        answer = await client.get(export_of(conversation, form))
        assert answer.headers["content-type"].partition(";")[0] in described["content"]
    assert described["content"]["text/markdown"]["schema"] == {"type": "string"}
    (example,) = described["content"]["text/markdown"]["examples"].values()
    assert headings_of(example["value"])[0] == CONVERSATION.title
