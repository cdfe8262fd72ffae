"""What happens in the recorded conversations. What is said tells the stand-in model what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

from tests.golden.room import Room

Scenario = Callable[[Room], Awaitable[None]]

GATED = "gated First words, and then the rest of the answer."
FACES = "👋🏽 a family 👩‍👩‍👧‍👦, a flag 🇪🇺, a clef 𝄞, é in two: e\u0301, and 日本語 to the end 🎉"


async def open_gate(room: Room) -> None:
    async with httpx.AsyncClient(base_url=room.stack.model_url, trust_env=False) as model:
        await model.post("/gate/open")


async def plain_answer(room: Room) -> None:
    await room.say("slow 60 **Hello!** This answer comes in several pieces, word by word.")
    await room.ended()


async def second_question(room: Room) -> None:
    """The record begins between the two."""
    await room.say("say The first answer.")
    await room.ended()
    await room.begin_here()
    await room.say("slow 40 The second answer, a little slower.")
    await room.ended()


async def emoji(room: Room) -> None:
    await room.say(f"slow 60 {FACES}")
    await room.ended()


async def two_tools(room: Room) -> None:
    await room.say(
        'call create_task {"title": "Review Q4 report", "description": "Before Friday"}\n'
        "call list_tasks {}\nthen slow 40 The task is on the list."
    )
    await room.ended()


async def tool_steps(room: Room) -> None:
    """Text, a call, text, a call, text: several model calls in one turn."""
    await room.say(
        'again create_task {"title": "Buy milk"} again list_tasks {"status": "open"}\n'
        "then slow 40 Both steps are done."
    )
    await room.ended()


async def failed_tool(room: Room) -> None:
    await room.say(
        'call complete_task {"task_id": "no-such-task"}\nthen say There is no such task.'
    )
    await room.ended()


async def failed_then_retried(room: Room) -> None:
    await room.say("flaky 500 3 say Better now.")
    await room.in_state("failed")
    await room.ended()
    await room.retry()
    await room.in_state("completed")
    await room.ended()


async def failed_in_mid_answer(room: Room) -> None:
    """What was said until then is kept."""
    await room.say("cut It begins well, and then")
    await room.ended()


async def cancelled_in_mid_answer(room: Room) -> None:
    await room.say(GATED)
    await room.text()
    await room.cancel()
    await room.ended()


async def worker_killed_in_mid_answer(room: Room) -> None:
    """The text of the first attempt is void; the second says all of it."""
    worker = room.stack.workers[0]
    await room.say(GATED)
    await room.text()
    async with worker.lock:
        await worker.kill()
        await open_gate(room)
        await worker.start()
    await room.ended()


async def queued_turns(room: Room) -> None:
    await room.say(GATED)
    await room.text()
    await room.say("say Second.")
    await room.say("say Third.")
    await open_gate(room)
    await room.ended(turns=3)


async def steered(room: Room) -> None:
    await room.say(GATED)
    await room.text()
    await room.say("say As you wish, in one sentence.", on_busy="steer")
    await open_gate(room)
    await room.ended()


async def interrupted(room: Room) -> None:
    await room.say(GATED)
    await room.text()
    await room.say("say Something else instead.", on_busy="interrupt")
    await room.ended(turns=2)


async def rolled_back(room: Room) -> None:
    await room.say(GATED)
    await room.text()
    await room.say("say As if the first was never asked.", on_busy="rollback")
    await room.ended(turns=2)


async def approved(room: Room) -> None:
    await room.say(
        'call files__delete {"path": "/old/report.txt"}\ncall list_tasks {}\n'
        "then say The file is gone."
    )
    await room.in_state("awaiting_approval")
    await room.decide("approve")
    await room.ended()


async def denied(room: Room) -> None:
    await room.say('call files__delete {"path": "/all"}\nthen say Then I leave it there.')
    await room.in_state("awaiting_approval")
    await room.decide("deny")
    await room.ended()


async def opened_in_mid_answer(room: Room) -> None:
    """The first event brings all of the text until then."""
    await room.say(GATED)
    await room.text()
    await room.begin_here()
    await room.text()
    await open_gate(room)
    await room.ended()


async def renamed(room: Room) -> None:
    """Also in the middle of an answer, whose text it leaves as it is."""
    await room.say(GATED)
    await room.text()
    await room.rename("A better title 📎")
    await open_gate(room)
    await room.ended()


async def deleted(room: Room) -> None:
    await room.say("say Soon gone.")
    await room.ended()
    await room.delete()


SCENARIOS: tuple[Scenario, ...] = (
    *(plain_answer, second_question, emoji, two_tools, tool_steps, failed_tool),
    *(failed_then_retried, failed_in_mid_answer, cancelled_in_mid_answer),
    *(worker_killed_in_mid_answer, queued_turns, steered, interrupted, rolled_back),
    *(approved, denied, opened_in_mid_answer, renamed, deleted),
)


def name_of(scenario: Scenario) -> str:
    return getattr(scenario, "__name__", "")
