"""A turn from its claim to its end, with a real database and a model over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from shared.connection import EVERYONE
from shared.redis import QUEUE, Redis
from shared.store.tasks import list_tasks
from tests.fixtures.stand_in import StandIn
from tests.fixtures.turns import Desk
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def test_an_answer_is_written_and_the_turn_completed(desk: Desk) -> None:
    turn, history = await desk.ask("say Hello there, Alice")
    assert turn.status == "completed"
    assert (turn.attempt, turn.position, turn.error, turn.model) == (1, None, None, "stand-in")
    assert turn.usage == {
        "model_calls": 1,
        "input_tokens": 7,
        "output_tokens": 5,
        "total_tokens": 12,
    }
    assert [(m.role, m.content, m.status) for m in history] == [
        ("user", "say Hello there, Alice", "completed"),
        ("assistant", "Hello there, Alice", "completed"),
    ]


async def test_the_times_of_a_turn_follow_each_other(desk: Desk) -> None:
    turn, _ = await desk.ask("say Hello")
    assert turn.started_at is not None
    assert turn.first_token_at is not None
    assert turn.finished_at is not None
    assert turn.created_at <= turn.started_at <= turn.first_token_at <= turn.finished_at


async def test_a_tool_call_has_its_effect_and_its_result(desk: Desk) -> None:
    turn, history = await desk.ask('call create_task {"title": "Review Q4 report"}')
    assert turn.status == "completed"
    assert [m.role for m in history] == ["user", "assistant", "tool", "assistant"]
    asked, result = history[1], history[2]
    assert asked.tool_calls is not None
    call = asked.tool_calls[0]
    assert (call.tool_name, call.arguments) == ("create_task", {"title": "Review Q4 report"})
    assert call.status == "completed"
    assert call.result["title"] == "Review Q4 report"
    assert call.started_at is not None
    assert call.duration_ms is not None
    assert call.duration_ms >= 0
    assert result.tool_call_id == call.id
    assert json.loads(result.content) == call.result
    async with desk.db.snapshot(EVERYONE) as tx:
        assert [t.title for t in await list_tasks(tx, owner="alice", limit=9)] == [
            "Review Q4 report"
        ]


async def test_several_tool_calls_in_one_answer_appear_in_their_order(desk: Desk) -> None:
    titles = ["one", "two", "three"]
    said = "\n".join(f'call create_task {{"title": "{title}"}}' for title in titles)
    turn, history = await desk.ask(said)
    assert turn.status == "completed"
    asked = history[1].tool_calls or []
    assert [call.arguments["title"] for call in asked] == titles
    assert [call.result["title"] for call in asked] == titles
    assert len({call.id for call in asked}) == 3


async def test_the_same_call_id_in_two_answers_of_a_turn_is_two_calls(desk: Desk) -> None:
    turn, history = await desk.ask('again create_task {"title": "a"} again list_tasks {}')
    assert turn.status == "completed", turn.error
    calls = [call for m in history for call in m.tool_calls or ()]
    assert [call.tool_name for call in calls] == ["create_task", "list_tasks"]
    assert len({call.id for call in calls}) == 2
    assert turn.usage is not None
    assert turn.usage["model_calls"] == 3


async def test_the_owner_of_a_task_is_the_turns_and_never_an_argument(desk: Desk) -> None:
    _, history = await desk.ask('call create_task {"title": "x", "user_id": "bob"}')
    call = (history[1].tool_calls or [])[0]
    assert call.status == "failed"
    assert call.result["error"]["code"] == "invalid_arguments"
    async with desk.db.snapshot(EVERYONE) as tx:
        assert await list_tasks(tx, owner="bob", limit=9) == []


async def test_another_owners_task_is_not_found(desk: Desk) -> None:
    desk.owner = "bob"
    _, history = await desk.ask('call create_task {"title": "private"}')
    task_id = (history[1].tool_calls or [])[0].result["id"]
    desk.owner = "alice"
    for tool in ("complete_task", "delete_task", "update_task"):
        _, history = await desk.ask(f'call {tool} {{"task_id": "{task_id}"}}')
        assert (history[1].tool_calls or [])[0].result["error"]["code"] == "task_not_found"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("call no_such_tool {}", "unknown_tool"),
        ("call create_task {broken", "invalid_arguments"),
        ("call create_task [1]", "invalid_arguments"),
        ('call create_task {"title": 5}', "invalid_arguments"),
        ('call create_task {"title": "   "}', "invalid_arguments"),
        ('call create_task {"title": "\\u0000"}', "invalid_arguments"),
        ('call complete_task {"task_id": "not an id"}', "task_not_found"),
    ],
)
async def test_a_call_that_cannot_be_done_is_a_result_and_not_the_end(
    desk: Desk, asked: str, code: str
) -> None:
    turn, history = await desk.ask(asked)
    assert turn.status == "completed", turn.error
    call = (history[1].tool_calls or [])[0]
    assert call.status == "failed"
    assert call.result["error"]["code"] == code
    assert call.result["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "code", "kept"),
    [
        ("status 401", "model_unauthorized", ""),
        ("status 429", "model_rate_limited", ""),
        ("status 400", "model_rejected", ""),
        ("status 500", "model_unavailable", ""),
        ("hang", "model_timeout", ""),
        ("stall Half an answer", "model_timeout", "Half an answer"),
        ("cut Half an answer", "model_incomplete", "Half an answer"),
        ("garbage", "model_invalid", ""),
        ("html", "model_incomplete", ""),
        ("error", "model_invalid", ""),
        ("empty", "model_empty", ""),
        ("filtered", "model_refused", "Response withheld by the provider's content filter."),
        ("refuse I would rather not", "model_refused", "I would rather not"),
    ],
)
async def test_a_models_fault_ends_the_turn_with_a_code_and_a_sentence(
    desk: Desk, asked: str, code: str, kept: str
) -> None:
    turn, history = await desk.ask(asked, parley_model_idle_timeout_seconds=0.3)
    assert turn.status == "failed"
    assert turn.error is not None
    assert turn.error.code == code
    assert turn.error.message.endswith(".")
    assert "secret" not in turn.error.message
    shown = [(m.content, m.status) for m in history if m.role == "assistant"]
    assert shown == ([(kept, "failed")] if kept else [])


async def test_an_answer_that_was_cut_for_its_length_says_so(desk: Desk) -> None:
    turn, history = await desk.ask("length As far as it goes")
    assert turn.status == "completed"
    assert history[-1].content == "As far as it goes"
    assert history[-1].metadata == {"incomplete": "max_output_tokens"}


async def test_a_model_that_trickles_for_ever_is_stopped(desk: Desk) -> None:
    said = "slow 100 " + "word " * 100
    turn, history = await desk.ask(said, parley_model_timeout_seconds=0.5)
    assert turn.error is not None
    assert turn.error.code == "model_timeout"
    assert history[-1].content.startswith("word ")


async def test_a_turn_has_a_time_limit(desk: Desk) -> None:
    turn, _ = await desk.ask("hang", parley_turn_timeout_seconds=0.3)
    assert turn.error is not None
    assert turn.error.code == "turn_timeout"


async def test_an_endless_tool_loop_is_stopped(desk: Desk) -> None:
    turn, history = await desk.ask("again list_tasks {} " * 8, parley_max_model_calls=3)
    assert turn.error is not None
    assert turn.error.code == "too_many_model_calls"
    assert all(call.status == "completed" for m in history for call in m.tool_calls or ())


async def test_an_answer_without_end_is_cut(desk: Desk) -> None:
    turn, _ = await desk.ask("say " + "x" * 900, parley_max_answer_chars=500)
    assert turn.error is not None
    assert turn.error.code == "answer_too_long"


async def test_emoji_that_come_in_halves_are_whole_in_the_answer(desk: Desk) -> None:
    said = "a\U0001f600b\ud83d c\0d"
    turn, history = await desk.ask("raw " + json.dumps(said))
    assert turn.status == "completed", turn.error
    assert history[-1].content == "a\U0001f600b\ufffd cd"


async def test_the_model_hears_what_was_said_before(desk: Desk, stand_in: StandIn) -> None:
    conversation_id = await desk.conversation()
    worker = await desk.worker()
    for said in ('call create_task {"title": "one"}', "say second", "recall"):
        await desk.say(conversation_id, said)
        assert await worker.run_head(conversation_id)
    heard = stand_in.requests[-1]["messages"]
    assert [m["role"] for m in heard] == [
        *("system", "user", "assistant", "tool", "assistant", "user", "assistant", "user")
    ]
    call = heard[2]["tool_calls"][0]
    assert call["function"]["name"] == "create_task"
    assert heard[3]["tool_call_id"] == call["id"]


async def test_questions_that_wait_are_not_part_of_the_history_before_them(
    desk: Desk, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    for number in range(3):
        await desk.say(conversation_id, f"recall {number}")
    worker = await desk.worker()
    while await worker.run_head(conversation_id):
        pass
    answers = [m.content for m in await desk.history(conversation_id) if m.role == "assistant"]
    assert answers == ["recall 0", "recall 0 | recall 1", "recall 0 | recall 1 | recall 2"]
    heard = [m["role"] for m in stand_in.requests[-1]["messages"]]
    assert heard == ["system", "user", "assistant", "user", "assistant", "user"]


async def test_the_context_is_the_last_fifty_messages(desk: Desk, stand_in: StandIn) -> None:
    conversation_id = await desk.conversation()
    worker = await desk.worker()
    for number in range(30):
        await desk.say(conversation_id, f"say {number}")
        assert await worker.run_head(conversation_id)
    heard = [m for m in stand_in.requests[-1]["messages"] if m["role"] != "system"]
    assert len(heard) == 50
    assert heard[-1]["content"] == "say 29"


async def test_only_one_of_many_workers_runs_a_turn(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "say once")
    workers = [await desk.worker() for _ in range(5)]
    ran = await asyncio.gather(*(worker.run_head(conversation_id) for worker in workers))
    assert [bool(found) for found in sorted(ran, key=bool)] == [False] * 4 + [True]
    assert (await desk.turn(turn.id)).attempt == 1


async def test_a_cancelled_worker_gives_its_turn_back_at_once(desk: Desk) -> None:
    conversation_id = await desk.conversation()
    turn = await desk.say(conversation_id, "stall Half")
    first, second = await desk.worker(), await desk.worker()
    running = asyncio.create_task(first.run_head(conversation_id))
    await until(lambda: first.held)
    assert not await second.run_head(conversation_id)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    again = asyncio.create_task(second.run_head(conversation_id))
    await until(lambda: second.held)
    assert (await desk.turn(turn.id)).attempt == 2
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def rung(redis: Redis) -> int:
    found: int = await redis.zcard(QUEUE)  # pyright: ignore[reportUnknownMemberType]
    return found


async def test_a_worker_that_drains_claims_nothing_more_and_rings_for_others(
    desk: Desk, redis: Redis, stand_in: StandIn
) -> None:
    conversation_id = await desk.conversation()
    first = await desk.say(conversation_id, "gated First then the rest")
    second = await desk.say(conversation_id, "say second")
    worker = await desk.worker()
    running = asyncio.create_task(worker.run_all(conversation_id))
    await until(lambda: worker.held)
    worker.draining = True
    stand_in.open_gate()
    await running
    assert (await desk.turn(first.id)).status == "completed"
    rings = await rung(redis)
    await worker.run_all(conversation_id)
    assert await rung(redis) == rings + 1
    assert (await desk.turn(second.id)).status == "queued"
