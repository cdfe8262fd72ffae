"""The model of a provider that speaks Chat Completions: OpenAI, OpenRouter and most others.

The Agents SDK has one too. It makes several objects a token, takes a stream that breaks off for a
finished answer unless it talks to its vendor, and drops the reason an answer was cut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from agents import FunctionTool, Tool

from worker.chat_model import ChatModel, Cut, Items, Part, Question, Refusal, Tokens, ToolCall
from worker.failures import ModelIncomplete, ModelInvalid
from worker.provider import CallPiece, Choice, Chunk, Provider

CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
WITHHELD = "Response withheld by the provider's content filter."
MAX_CALLS = 128
"""More in one answer are no answer."""


class ChatCompletionsModel(ChatModel):
    def __init__(self, name: str, provider: Provider) -> None:
        self.name = name
        self._provider = provider

    async def answer(self, question: Question) -> AsyncGenerator[Part]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": messages_of(question.instructions, question.items),
            "stream_options": {"include_usage": True},
        }
        if question.tools:
            body["tools"] = [_tool(tool) for tool in question.tools]
        if question.max_tokens is not None:
            body["max_completion_tokens"] = question.max_tokens
        async with aclosing(parts_of(self._provider.stream(body))) as parts:
            async for part in parts:
                yield part

    async def close(self) -> None:
        await self._provider.close()


async def parts_of(stream: AsyncGenerator[list[Chunk]]) -> AsyncGenerator[Part]:
    """Text as it comes, what came at once as one piece; the rest when the answer is complete.

    Raises ModelIncomplete if it ends without a finish reason.
    """
    calls: dict[int, list[CallPiece]] = {}
    refusal, finish, tokens, silent = "", None, None, True
    async with aclosing(stream):
        async for chunks in stream:
            text = ""
            for chunk in chunks:
                if chunk.usage is not None:
                    usage = chunk.usage
                    tokens = Tokens(usage.prompt_tokens or 0, usage.completion_tokens or 0)
                for choice in chunk.choices or ():
                    finish = choice.finish_reason or finish
                    text += _said(choice, calls)
                    refusal += (choice.delta and choice.delta.refusal) or ""
            if text:
                silent = False
                yield text
    if finish is None:
        raise ModelIncomplete
    if finish == "content_filter" and silent:
        refusal = refusal or WITHHELD
    if refusal:
        yield Refusal(refusal)
    for call in _whole(calls):
        yield call
    if finish in CUT:
        yield Cut(CUT[finish])
    if tokens is not None:
        yield tokens


def _said(choice: Choice, calls: dict[int, list[CallPiece]]) -> str:
    """The choice's text; pieces of calls are put to the others of their call."""
    delta = choice.delta
    if delta is None:
        return ""
    for number, piece in enumerate(delta.tool_calls or ()):
        calls.setdefault(number if piece.index is None else piece.index, []).append(piece)
        if len(calls) > MAX_CALLS:
            raise ModelInvalid
    return delta.content or ""


def _whole(calls: dict[int, list[CallPiece]]) -> Iterator[ToolCall]:
    for _, pieces in sorted(calls.items()):
        functions = [piece.function for piece in pieces if piece.function is not None]
        name = "".join(function.name or "" for function in functions)
        yield ToolCall(name, "".join(function.arguments or "" for function in functions))


def messages_of(instructions: str, items: Items) -> list[dict[str, Any]]:
    """The history in the words of the protocol: a call stands in the message that made it."""
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    for item in cast("Sequence[Mapping[str, Any]]", items):
        match item.get("type"):
            case "function_call":
                if messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append(_call(item))
            case "function_call_output":
                told = {"tool_call_id": item["call_id"], "content": item["output"]}
                messages.append({"role": "tool"} | told)
            case _:
                messages.append({"role": item["role"], "content": item["content"]})
    return messages


def _call(item: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _tool(tool: Tool) -> dict[str, Any]:
    assert isinstance(tool, FunctionTool)
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.params_json_schema,
            "strict": tool.strict_json_schema,
        },
    }
