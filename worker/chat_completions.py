"""The SDK's Chat Completions model, made to say when and why an answer ended.

The SDK takes a stream that breaks off for a finished answer unless it talks to its vendor, and
drops the reason an answer was cut. Both are in the chunks, so they are read on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from agents import OpenAIChatCompletionsModel
from openai import AsyncStream
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import Response
from openai.types.responses.response import IncompleteDetails

from worker.failures import ModelIncomplete

CUT: dict[str, Any] = {"length": "max_output_tokens", "content_filter": "content_filter"}


class FinishedStream:
    """Passes chunks on; raises ModelIncomplete if they end without a finish reason."""

    def __init__(self, chunks: AsyncStream[ChatCompletionChunk], response: Response) -> None:
        self.response = chunks.response
        self._chunks = chunks
        self._answer = response

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        finish_reason = None
        async for chunk in self._chunks:
            for choice in chunk.choices:
                finish_reason = choice.finish_reason or finish_reason
            yield chunk
        if finish_reason is None:
            raise ModelIncomplete
        if finish_reason in CUT:
            self._answer.incomplete_details = IncompleteDetails(reason=CUT[finish_reason])

    async def close(self) -> None:
        await self._chunks.close()


class ChatCompletionsModel(OpenAIChatCompletionsModel):
    """For OpenAI, OpenRouter and whatever speaks the same protocol."""

    async def _fetch_response(self, *args: Any, **kwargs: Any) -> Any:
        """Streams only: `RecordedModel` asks for nothing else."""
        fetched: Any = await super()._fetch_response(*args, **kwargs)  # pyright: ignore[reportUnknownVariableType]
        response, chunks = cast("tuple[Response, AsyncStream[ChatCompletionChunk]]", fetched)
        return response, FinishedStream(chunks, response)
