"""What our own models share: reading the SDK's input items and speaking its stream of events.

The run loop needs two kinds of event only: a text delta per piece, as it arrives, and one
`response.completed` that carries the finished output. Everything between is optional to it.
"""

# ruff: noqa: ARG002 (the SDK's signatures name more than our models use)

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias, cast
from uuid import uuid4

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelBehaviorError,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseUsage,
)
from openai.types.responses.response_prompt_param import ResponsePromptParam
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails


@dataclass(frozen=True)
class ToolCall:
    """A request to run a tool; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Tokens:
    """What one request to a model cost."""

    prompt: int
    completion: int


Part: TypeAlias = str | ToolCall | Tokens
Items: TypeAlias = str | list[TResponseInputItem]


class OwnModel(Model):
    """A model that is one function from the input items to the parts of an answer."""

    name: str

    @abstractmethod
    def answer(self, items: Items, tools: list[Tool]) -> AsyncGenerator[Part]: ...

    async def get_response(
        self,
        system_instructions: str | None,
        input: Items,
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> ModelResponse:
        return await whole_response(self.name, self.answer(input, tools))

    def stream_response(
        self,
        system_instructions: str | None,
        input: Items,
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        return stream_events(self.name, self.answer(input, tools))


async def stream_events(
    model: str, parts: AsyncGenerator[Part]
) -> AsyncIterator[TResponseStreamEvent]:
    """Turn the parts of an answer into events: text at once, tool calls and costs at the end."""
    message_id = f"msg_{uuid4().hex}"
    text: list[str] = []
    calls: list[ToolCall] = []
    costs: list[Tokens] = []
    sequence = 0
    async with aclosing(parts):
        async for part in parts:
            match part:
                case ToolCall():
                    calls.append(part)
                case Tokens():
                    costs.append(part)
                case str() if part:
                    text.append(part)
                    yield _delta(message_id, part, sequence)
                    sequence += 1
                case str():
                    pass
    output = _output(message_id, "".join(text), calls)
    yield ResponseCompletedEvent(
        type="response.completed",
        response=_response(model, output, costs),
        sequence_number=sequence,
    )


async def whole_response(model: str, parts: AsyncGenerator[Part]) -> ModelResponse:
    """The same answer without a stream."""
    async for event in stream_events(model, parts):
        if isinstance(event, ResponseCompletedEvent):
            tokens = event.response.usage
            usage = Usage(requests=1)
            if tokens is not None:
                usage.input_tokens = tokens.input_tokens
                usage.output_tokens = tokens.output_tokens
                usage.total_tokens = tokens.total_tokens
            return ModelResponse(event.response.output, usage, event.response.id)
    raise ModelBehaviorError("the model's answer never completed")


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
    if isinstance(items, str):
        return items
    users = [item for item in items if item.get("role") == "user"]
    return item_text(users[-1]) if users else ""


def _delta(message_id: str, text: str, sequence: int) -> ResponseTextDeltaEvent:
    return ResponseTextDeltaEvent(
        type="response.output_text.delta",
        item_id=message_id,
        output_index=0,
        content_index=0,
        delta=text,
        logprobs=[],
        sequence_number=sequence,
    )


def _output(message_id: str, text: str, calls: list[ToolCall]) -> list[ResponseOutputItem]:
    output: list[ResponseOutputItem] = []
    if text or not calls:
        content = ResponseOutputText(type="output_text", text=text, annotations=[])
        output.append(
            ResponseOutputMessage(
                id=message_id,
                type="message",
                role="assistant",
                status="completed",
                content=[content],
            )
        )
    for call in calls:
        output.append(
            ResponseFunctionToolCall(
                type="function_call",
                call_id=f"call_{uuid4().hex}",
                name=call.name,
                arguments=call.arguments,
            )
        )
    return output


def _response(model: str, output: list[ResponseOutputItem], costs: list[Tokens]) -> Response:
    prompt = sum(cost.prompt for cost in costs)
    completion = sum(cost.completion for cost in costs)
    return Response(
        id=f"resp_{uuid4().hex}",
        created_at=0,
        model=model,
        object="response",
        output=output,
        parallel_tool_calls=True,
        tool_choice="auto",
        tools=[],
        status="completed",
        usage=ResponseUsage(
            input_tokens=prompt,
            output_tokens=completion,
            total_tokens=prompt + completion,
            input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        ),
    )
