import agents
import pytest
from agents import Agent, Runner, TResponseInputItem

from worker.echo import EchoModel

agents.set_tracing_disabled(True)

pytestmark = pytest.mark.anyio


def agent() -> Agent[None]:
    return Agent[None](name="echo", model=EchoModel())


async def streamed(items: str | list[TResponseInputItem]) -> list[str]:
    run = Runner.run_streamed(agent(), items)
    return [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]


@pytest.mark.parametrize(
    "text",
    ["hello", "  two  spaces\tand\n\nlines ", "naïve 🦜 日本語", "   ", "one\u00a0word?"],
)
async def test_the_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(await streamed(text)) == text


async def test_text_is_streamed_word_by_word() -> None:
    assert await streamed("a bc  d") == ["a ", "bc  ", "d"]


async def test_the_last_message_of_the_user_is_answered() -> None:
    items: list[TResponseInputItem] = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": [{"type": "input_text", "text": "second"}]},
    ]
    assert "".join(await streamed(items)) == "second"


async def test_without_a_stream_the_answer_is_the_same() -> None:
    run = await Runner.run(agent(), "plain  words")
    assert run.final_output == "plain  words"


async def test_an_empty_message_is_answered_with_nothing() -> None:
    run = await Runner.run(agent(), "")
    assert run.final_output == ""
    assert await streamed("") == []
