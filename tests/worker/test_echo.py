import pytest
from agents import TResponseInputItem

from worker.chat_model import Question
from worker.echo import EchoModel

pytestmark = pytest.mark.anyio


async def answer(*items: TResponseInputItem) -> list[str]:
    return [piece async for piece in EchoModel().answer(Question("", items))]


@pytest.mark.parametrize(
    "text",
    ["hello", "  two  spaces\tand\n\nlines ", "naïve 🦜 日本語", "   ", "one\u00a0word?"],
)
async def test_the_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(await answer({"role": "user", "content": text})) == text


async def test_text_is_said_word_by_word() -> None:
    assert await answer({"role": "user", "content": "a bc  d"}) == ["a ", "bc  ", "d"]


async def test_the_last_message_of_the_user_is_answered() -> None:
    said = await answer(
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": [{"type": "input_text", "text": "second"}]},
    )
    assert "".join(said) == "second"


async def test_an_empty_message_is_answered_with_nothing() -> None:
    assert await answer({"role": "user", "content": ""}) == []
