"""What people say, and what opens doors, stands in no log line, no error and no job."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from httpx import AsyncClient
from litestar import Litestar, get
from msgspec import Struct
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from shared.connection import LOGIN
from shared.db import Database
from shared.ids import new_id
from shared.redis import QUEUE, Redis
from tests.api.talk import CONVERSATIONS, begin, expect_problem, messages_of, path_of, say
from tests.fixtures.people import Person
from tests.fixtures.service import Service
from tests.fixtures.settings import SECRET
from tests.fixtures.sse import Reader, turn_ended
from tests.fixtures.turns import Desk
from worker.history import calls_of
from worker.tools.tool import OutsideTool

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
API_KEY = "sk-stand-in"


QUOTES = """
CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF to_jsonb(NEW) ->> TG_ARGV[0] LIKE 'UNWANTED%' THEN
    RAISE EXCEPTION 'not so: %', NEW USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$

CREATE TRIGGER quote BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION quote('content')

CREATE TRIGGER quote BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION quote('title')
"""


class Said(Struct):
    text: str


class Marks:
    """Words that stand nowhere else, one for each kind of secret."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __getattr__(self, kind: str) -> str:
        self.made.append(f"{kind}-{new_id().hex}")
        return self.made[-1]

    def expect_none_in(self, where: str, *more: str) -> None:
        assert self.made
        assert [word for word in (*self.made, *more) if word in where] == []


def said_to_the_model(marks: Marks) -> list[str]:
    """A chat in which everything goes wrong that can."""
    tasks = f'call create_task {{"title": "{marks.title}"}}\ncall {marks.tool} {{}}'
    return [
        f"say {marks.answer}",
        tasks,
        f'call create_task {{"title": ["{marks.wrong}"], "{marks.field}": 1}}',
        f"call create_task {{{marks.broken}",
        # From here on the provider's errors repeat all of the above, and the key.
        *("status 401", "status 400", "status 500", "garbage", "html", "error"),
        f"cut {marks.half}",
        f"refuse {marks.refusal}",
        f"length {marks.cut}",
    ]


async def test_a_whole_chat_leaves_no_word_in_any_log(service: Service) -> None:
    marks = Marks()
    titled = await service.client.post(CONVERSATIONS, json={"title": marks.conversation})
    conversation_id: str = titled.json()["id"]
    said = said_to_the_model(marks)
    for content in said:
        answer = await service.say(conversation_id, content, wait=30)
        error = answer["turn"]["error"]
        marks.expect_none_in(json.dumps(error), API_KEY, service.person.token)
    found = await service.listen(conversation_id, until=lambda r: all_ended(r, len(said)))
    codes = {turn["error"]["code"] for turn in found.turns.values() if turn["error"]}
    assert codes >= {"model_unauthorized", "model_rejected", "model_unavailable", "model_refused"}
    looked = await service.client.get("/api/chat/search", params={"q": marks.looked_for})
    assert looked.status_code == 200
    answered = next(m for m in found.messages.values() if m["role"] == "assistant")
    rated = await service.client.put(
        f"/api/chat/messages/{answered['id']}/feedback",
        json={"rating": "down", "comment": marks.comment},
    )
    assert rated.status_code == 200
    await bad_requests(service.client, conversation_id, marks)
    logs = "".join(process.log.read_text() for process in service.processes)
    assert "turn_ended" in logs
    assert "http_request" in logs
    marks.expect_none_in(logs, API_KEY, service.person.token, service.person.owner, SECRET)


def all_ended(reader: Reader, count: int) -> bool:
    return len(reader.turns) == count and turn_ended(reader)


async def bad_requests(client: AsyncClient, conversation_id: str, marks: Marks) -> None:
    """None is answered with the words it was asked with."""
    path = messages_of(conversation_id)
    events = f"{path_of(conversation_id)}/events"
    cookie = {"Cookie": f"parley_session={marks.cookie}"}
    answers: list[httpx.Response] = [
        await client.post(path, json={"content": marks.body, "wait": marks.value}),
        await client.post(path, json={"content": [marks.listed]}),
        await client.post(path, content=f'{{"content": "{marks.json}'.encode(), headers=JSON),
        await client.put(path_of(conversation_id), json={"title": marks.long * 50}),
        await client.get(path, params={"since": marks.cursor}),
        await client.get(path, params={"limit": marks.limit}),
        await client.get(path, params={"q": marks.search}),
        await client.get(events, headers={"Last-Event-ID": marks.event}),
        await client.get(events, params={"ticket": marks.ticket}),
        await client.get(CONVERSATIONS, headers=cookie | {"Authorization": ""}),
        await client.get(f"{CONVERSATIONS}/{marks.path}"),
        await client.get(f"/{marks.nowhere}"),
        await client.post(
            path, json={"content": "x"}, headers={"Idempotency-Key": f"{marks.key} x"}
        ),
        await client.get(CONVERSATIONS, headers={"Authorization": f"Bearer {marks.token}"}),
    ]
    for answer in answers:
        marks.expect_none_in(answer.text)
        assert 400 <= answer.status_code < 500, answer.request


async def test_a_job_holds_ids_and_nothing_else(client: AsyncClient, redis: Redis) -> None:
    marks = Marks()
    conversation = await begin(client, title=marks.title)
    await say(client, conversation, marks.content)
    (job,) = await redis.queued_jobs(queue_name=QUEUE)
    assert (list(job.args), job.kwargs) == ([conversation["id"]], {})
    kept = [await redis.dump(key) for key in await redis.keys("*")]
    assert len(kept) >= 2
    marks.expect_none_in(repr((await redis.keys("*"), kept)))


async def test_the_databases_own_words_are_told_to_nobody(
    client: AsyncClient, desk: Desk, db: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """Postgres quotes what it was given; the driver quotes Postgres."""
    marks = Marks()
    conversation = await begin(client)
    unwanted = marks.unwanted
    async with db.transaction(LOGIN) as tx:
        for statement in QUOTES.replace("UNWANTED", unwanted).split("\n\n"):
            await tx.execute(text(statement))
    answer = await client.post(messages_of(conversation), json={"content": unwanted})
    expect_problem(answer, 500, "internal")
    marks.expect_none_in(answer.text)
    said = f'call create_task {{"title": "{unwanted}"}}'
    turn = await desk.say(UUID(conversation["id"]), said)
    await (await desk.worker()).run_all(turn.conversation_id)
    (call,) = calls_of(await desk.history(turn.conversation_id), turn.id)
    assert call.result["error"]["code"] == "tool_failed"
    logged = "".join(capfd.readouterr())
    assert "CheckViolationError" in logged
    assert "IntegrityError" in logged
    marks.expect_none_in(logged + str(call.result))


async def test_what_a_broken_tool_says_is_told_to_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    marks = Marks()

    async def explode(owner: str, key: str, wanted: Said) -> Any:
        raise RuntimeError(marks.raised, owner) from KeyError(marks.cause)

    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, f'call outside {{"text": "{marks.argument}"}}')
    with capture_logs() as lines:
        tool = OutsideTool("outside", "Breaks.", Said, explode)
        await (await desk.worker(tools=[tool])).run_all(conversation_id)
    assert (await desk.turn(turn.id)).status == "completed"
    assert {"tool_failed", "tool_call", "turn_ended"} <= {line["event"] for line in lines}
    marks.expect_none_in(str(lines) + caplog.text, desk.owner)


async def test_an_error_that_nobody_expected_is_told_by_its_kind_and_place(
    app: Litestar, client: AsyncClient, alice: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = Marks()

    @get("/breaks")
    async def breaks() -> str:
        raise ValueError(marks.raised, SecretStr(marks.key)) from KeyError(marks.cause)

    app.register(breaks)
    answer = await client.get(f"/breaks?{marks.query}", headers={"X-Secret": marks.header})
    expect_problem(answer, 400, "invalid_request")
    answer = await client.get("/breaks", headers={"X-Secret": marks.header})
    expect_problem(answer, 500, "internal")
    logged = "".join(capfd.readouterr())
    assert "request_error" in logged
    assert "tests/attacks/test_leaks.py:" in logged
    marks.expect_none_in(logged + answer.text, alice.token)
