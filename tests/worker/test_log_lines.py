"""What is logged of a request and the turn it made: one search by its id finds all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.app import create_app
from shared.settings import Settings
from shared.store.workers import leave
from tests.api.talk import begin, messages_of
from tests.fixtures.http import speaking
from tests.fixtures.people import Person
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from worker.tally import MAX_LISTED

pytestmark = pytest.mark.anyio

Line = dict[str, Any]
ID = "edge-7.f00d_1234"


@contextmanager
def logged() -> Generator[list[Line]]:
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines  # pyright: ignore[reportReturnType]


@pytest.fixture
async def client(model_settings: Settings, alice: Person) -> AsyncGenerator[AsyncClient]:
    async with speaking(create_app(model_settings), alice) as found:
        yield found


def only(lines: list[Line], event: str) -> Line:
    (found,) = [line for line in lines if line["event"] == event]
    return found


async def ask(
    client: AsyncClient, desk: Desk, content: str, request_id: str = ID, **changed: Any
) -> tuple[Line, list[Line]]:
    """What the API answered, and every line from its request to the turn's end."""
    conversation = await begin(client)
    with logged() as lines:
        answer = await client.post(
            messages_of(conversation),
            json={"content": content},
            headers={"X-Request-Id": request_id},
        )
        assert answer.status_code == 202
        worker = await desk.worker(**changed)
        await worker.run_all(UUID(conversation["id"]))
    return answer.json()["turn"], lines


async def test_every_line_of_a_turn_carries_the_id_of_its_request(
    client: AsyncClient, desk: Desk
) -> None:
    turn, lines = await ask(client, desk, 'call create_task {"title": "x"}')
    told = [line for line in lines if line["event"] != "library_log"]
    assert [line["event"] for line in told] == [
        *("http_request", "turn_claimed", "model_call", "tool_call", "model_call", "turn_ended"),
    ]
    for line in told:
        assert (line["request_id"], line["turn_id"]) == (ID, turn["id"])
        assert line["conversation_id"] == turn["conversation_id"]


async def test_the_last_line_of_a_turn_says_what_it_took(client: AsyncClient, desk: Desk) -> None:
    _, lines = await ask(client, desk, 'call create_task {"title": "x"}')
    ended = only(lines, "turn_ended")
    assert (ended["status"], ended["code"], ended["attempt"]) == ("completed", None, 1)
    assert (ended["model"], ended["model_calls"], ended["tool_calls"]) == ("stand-in", 2, 1)
    assert (ended["input_tokens"], ended["output_tokens"]) == (14, 10)
    assert len(ended["model_ms_each"]) == 2
    assert ended["model_ms"] == sum(ended["model_ms_each"])
    assert 0 <= ended["queue_ms"] <= ended["total_ms"]
    assert 0 <= ended["first_token_ms"] <= ended["total_ms"]
    (tool,) = ended["tools"]
    called = only(lines, "tool_call")
    assert tool == {name: called[name] for name in ("tool", "duration_ms", "status")}
    assert (tool["tool"], tool["status"]) == ("create_task", "completed")
    calls = [line for line in lines if line["event"] == "model_call"]
    assert [(c["finish"], c["input_tokens"]) for c in calls] == [("tool_calls", 7), ("stop", 7)]
    assert calls[0]["first_token_ms"] is None
    assert 0 <= calls[1]["first_token_ms"] <= calls[1]["duration_ms"]


@pytest.mark.parametrize(
    ("content", "code", "finish", "cause"),
    [
        ("status 401", "model_unauthorized", "model_unauthorized", "ModelRejected"),
        ("refuse no", "model_refused", "refusal", "ModelRefused"),
        ("stall Half", "model_timeout", "model_timeout", "ModelTimeout"),
    ],
)
async def test_a_turn_that_failed_says_why_in_codes(
    client: AsyncClient, desk: Desk, content: str, code: str, finish: str, cause: str
) -> None:
    changed: dict[str, Any] = {"parley_model_idle_timeout_seconds": 0.2, "parley_model_retries": 0}
    _, lines = await ask(client, desk, content, **changed)
    ended = only(lines, "turn_ended")
    assert (ended["status"], ended["code"], ended["error"]) == ("failed", code, cause)
    assert ended["log_level"] == "warning"
    assert ended["at"].startswith("worker/")
    assert only(lines, "model_call")["finish"] == finish


async def test_a_failed_tool_is_named_by_its_code_and_an_invented_one_not_at_all(
    client: AsyncClient, desk: Desk
) -> None:
    _, lines = await ask(client, desk, 'call what_alice_said {}\ncall create_task {"title": 1}')
    called = [line for line in lines if line["event"] == "tool_call"]
    assert [(c["tool"], c["status"], c["code"]) for c in called] == [
        ("unknown", "failed", "unknown_tool"),
        ("create_task", "failed", "invalid_arguments"),
    ]
    assert "what_alice_said" not in str(lines)


async def test_a_turn_of_many_steps_has_a_line_that_ends(client: AsyncClient, desk: Desk) -> None:
    said = "\n".join(["call list_tasks {}"] * (MAX_LISTED + 5))
    _, lines = await ask(client, desk, said)
    ended = only(lines, "turn_ended")
    assert (ended["tool_calls"], len(ended["tools"])) == (MAX_LISTED + 5, MAX_LISTED)


async def test_a_retried_turn_is_found_by_the_request_that_retried_it(
    client: AsyncClient, desk: Desk
) -> None:
    turn, _ = await ask(client, desk, "status 400")
    with logged() as lines:
        path = f"/api/chat/turns/{turn['id']}/retry"
        answer = await client.post(path, headers={"X-Request-Id": "another-one"})
        assert answer.status_code == 202
        worker = await desk.worker()
        await worker.run_all(UUID(turn["conversation_id"]))
    assert {line["request_id"] for line in lines} == {"another-one"}
    assert {line["turn_id"] for line in lines} == {turn["id"]}
    # It waited since it was retried, and not since it was first said.
    assert only(lines, "turn_ended")["total_ms"] < 5000


async def test_a_turn_that_was_cancelled_ends_in_the_one_line_too(
    client: AsyncClient, desk: Desk, stand_in: StandIn
) -> None:
    conversation = await begin(client)
    answer = await client.post(messages_of(conversation), json={"content": "gated First then"})
    turn = answer.json()["turn"]
    holder = await desk.worker()
    claimed, _ = await holder._claim(UUID(conversation["id"]))  # pyright: ignore[reportPrivateUsage]
    assert claimed is not None
    with logged() as lines:
        cancelling = await client.post(f"/api/chat/turns/{turn['id']}/cancel")
        assert cancelling.status_code == 202
        async with desk.db.transaction(claimed.owner) as tx:
            await leave(tx, holder.worker_id)
        await (await desk.worker()).run_all(UUID(conversation["id"]))
    assert only(lines, "http_request")["turn_id"] == turn["id"]
    ended = only(lines, "turn_ended")
    assert ended["status"] == "cancelled"
    assert ended["request_id"] == answer.headers["x-request-id"]


async def test_a_request_brings_its_own_id_if_it_is_fit_to_be_written_down(
    client: AsyncClient,
) -> None:
    for given in ("12345678", "a" * 64, "A.b_c-d0", ID):
        answer = await client.get("/health", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given
    unfit: list[list[tuple[str | bytes, str | bytes]]] = [
        *([("X-Request-Id", value)] for value in ("", "short", "a" * 65, "with space", "a;b;c;d;")),
        [(b"X-Request-Id", "ümlaut-ümlaut".encode())],
        [(b"X-Request-Id", b"new\nlines\nnew")],
        [("X-Request-Id", ID), ("X-Request-Id", ID)],
    ]
    for headers in unfit:
        answer = await client.get("/health", headers=headers)  # pyright: ignore[reportArgumentType]
        made = answer.headers["x-request-id"]
        assert len(made) == 32, headers
        assert int(made, 16)
