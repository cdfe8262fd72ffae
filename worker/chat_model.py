"""What our models share: they are asked a question and say their answer part by part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast
from uuid import uuid4

from agents import Tool, TResponseInputItem
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request to run a tool; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one request to a model cost."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Words in which the model declines, in place of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer is shorter than the model would have made it."""

    reason: str


Part: TypeAlias = str | ToolCall | Tokens | Refusal | Cut
"""A string is a piece of the text."""
Items: TypeAlias = Sequence[TResponseInputItem]


class Question(NamedTuple):
    instructions: str
    items: Items
    """The conversation, in the form of the Agents SDK (`worker/history.py`)."""
    tools: Sequence[Tool] = ()
    max_tokens: int | None = None


class ChatModel(ABC):
    name: str
    """Turns carry it."""

    @abstractmethod
    def answer(self, question: Question) -> AsyncGenerator[Part]:
        """Ends when the answer is complete. Raises what `failure_of` knows (`worker/failures.py`),
        whether at once or in the middle.
        """

    async def close(self) -> None:  # noqa: B027 (most have none)
        """Ends what connections there are."""


def output_of(text: str, calls: Sequence[ToolCall]) -> list[ResponseOutputItem]:
    """A whole answer as the SDK's run loop wants it."""
    output: list[ResponseOutputItem] = []
    if text or not calls:
        content = ResponseOutputText.model_construct(type="output_text", text=text, annotations=[])
        output.append(
            ResponseOutputMessage.model_construct(
                id=f"msg_{uuid4().hex}",
                type="message",
                role="assistant",
                status="completed",
                content=[content],
            )
        )
    for call in calls:
        output.append(
            ResponseFunctionToolCall.model_construct(
                type="function_call",
                call_id=f"call_{uuid4().hex}",
                name=call.name,
                arguments=call.arguments,
            )
        )
    return output


def item_text(item: TResponseInputItem) -> str:
    """The plain text of a message item, whether it is a string or a list of text parts."""
    return plain_text(cast("Mapping[str, object]", item).get("content"))


def plain_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    pieces = cast("list[object]", content)
    texts = [cast("Mapping[str, object]", p).get("text") for p in pieces if isinstance(p, Mapping)]
    return "".join(text for text in texts if isinstance(text, str))


def last_user_text(items: Items) -> str:
    users = [item for item in items if item.get("role") == "user"]
    return item_text(users[-1]) if users else ""
