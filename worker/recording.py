"""A model that is recorded: its text goes to the viewers as it comes, its calls are committed.

It stands between the Agents SDK's run loop and a real model. The run loop gets an answer only
after it was written down, so no tool runs that the history doesn't know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from agents import Model, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputMessage
from openai.types.responses.response_usage import ResponseUsage

from shared.settings import Settings
from shared.store.calls import new_call
from shared.store.messages import NewCall
from shared.text import TextSanitiser, sanitise
from worker.failures import (
    AnswerTooLong,
    ModelEmpty,
    ModelIncomplete,
    ModelRefused,
    ModelTimeout,
    TooManyModelCalls,
)
from worker.live import LiveMessage
from worker.recorder import Recorder
from worker.steps import Step, reached
from worker.tally import ModelCall, Tally
from worker.tools.tool import Toolbox, read_arguments

Read = Callable[[], Awaitable[list[TResponseInputItem]]]


class RecordedModel(Model):
    """Wraps `inner` for one attempt at one turn.

    What it is asked is not what the run loop has gathered but what `read` finds in the rows: so a
    turn goes on as it was begun, after a crash too, and hears what the user said meanwhile.
    """

    def __init__(
        self,
        inner: Model,
        *,
        recorder: Recorder,
        toolbox: Toolbox,
        settings: Settings,
        tally: Tally,
        read: Read,
    ) -> None:
        self._inner = inner
        self._recorder = recorder
        self._toolbox = toolbox
        self._settings = settings
        self._tally = tally
        self._read = read
        self._calls = 0
        self.final_metadata: dict[str, Any] = {}
        self.failure: Exception | None = None
        """What ended the run; the SDK may hide it on the way out."""

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        try:
            self._calls += 1
            if self._calls > self._settings.parley_max_model_calls:
                raise TooManyModelCalls
            given = kwargs | {"input": await self._read()}
            await reached(Step.MODEL_ASKED)
            return await self._call(self._inner.stream_response(*args, **given))
        except Exception as error:
            self.failure = self.failure or error
            raise

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError("The run loop gets whole answers; the viewers get the pieces.")

    async def _call(self, events: AsyncIterator[TResponseStreamEvent]) -> ModelResponse:
        async with self._recorder.new_message() as message:
            with self._tally.model_call() as timed:
                response = await self._listen(events, message, timed)
        await reached(Step.MODEL_ANSWERED)
        usage = usage_of(response.usage)
        self._recorder.count_usage(usage)
        if refusal := refusal_of(response):
            message.write("" if message.text else sanitise(refusal))
            raise ModelRefused
        if not message.text:
            message.write(sanitise(response.output_text))
        metadata = incomplete_of(response)
        asked = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
        if asked:
            await self._commit_calls(asked, metadata)
        elif message.text.strip():
            self.final_metadata = metadata
        elif metadata.get("incomplete") == "content_filter":
            raise ModelRefused
        else:
            raise ModelEmpty
        return ModelResponse(
            output=list(response.output), usage=Usage(requests=1), response_id=None
        )

    async def _listen(
        self, events: AsyncIterator[TResponseStreamEvent], message: LiveMessage, timed: ModelCall
    ) -> Response:
        """The finished response; text is written as it comes, within all limits."""
        text = TextSanitiser()
        try:
            async with asyncio.timeout(self._settings.parley_model_timeout_seconds):
                while (event := await self._next(events)) is not None:
                    if event.type == "response.output_text.delta":
                        self._recorder.first_token()
                        timed.first_token()
                        piece = text.feed(event.delta)
                        room = self._settings.parley_max_answer_chars - len(message.text)
                        message.write(piece[:room])
                        await reached(Step.MODEL_FIRST_TEXT)
                        if len(piece) > room:
                            raise AnswerTooLong
                    elif event.type == "response.completed":
                        timed.answered(finish_of(event.response), usage_of(event.response.usage))
                        message.write(text.close())
                        return event.response
        except TimeoutError:
            raise ModelTimeout from None
        finally:
            await close(events)
        raise ModelIncomplete

    async def _next(
        self, events: AsyncIterator[TResponseStreamEvent]
    ) -> TResponseStreamEvent | None:
        """Raises TimeoutError if the model falls silent; None at the end."""
        async with asyncio.timeout(self._settings.parley_model_idle_timeout_seconds):
            return await anext(events, None)

    async def _commit_calls(
        self, asked: list[ResponseFunctionToolCall], metadata: dict[str, Any]
    ) -> None:
        """Gives the calls ids of ours and writes them down, before any of them runs."""
        calls: list[NewCall] = []
        for item in asked:
            call = new_call(sanitise(item.name), read_arguments(item.arguments))
            item.call_id = call.id
            calls.append(call)
        awaiting = {call.id for call in calls if self._toolbox.needs_approval(call)}
        await self._recorder.calls_made(calls, metadata, awaiting=awaiting)
        self._toolbox.awaiting |= awaiting
        for call in calls:
            if call.tool_name not in self._toolbox:
                # The run loop tells the model by itself and never comes to us.
                await self._toolbox.call(call.id, call.tool_name, "{}")


async def close(events: AsyncIterator[TResponseStreamEvent]) -> None:
    """Ends the request to the model, whatever state it is in."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()


def usage_of(usage: ResponseUsage | None) -> dict[str, int]:
    if usage is None:
        return {"model_calls": 1}
    return {
        "model_calls": 1,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def refusal_of(response: Response) -> str:
    return "".join(
        part.refusal
        for item in response.output
        if isinstance(item, ResponseOutputMessage)
        for part in item.content
        if part.type == "refusal"
    )


def incomplete_of(response: Response) -> dict[str, Any]:
    """Why the text is shorter than the model would have made it, if it is."""
    details = response.incomplete_details
    return {"incomplete": details.reason} if details and details.reason else {}


def finish_of(response: Response) -> str:
    """Why the model stopped, for the log."""
    if refusal_of(response):
        return "refusal"
    if any(isinstance(item, ResponseFunctionToolCall) for item in response.output):
        return "tool_calls"
    return incomplete_of(response).get("incomplete", "stop")
