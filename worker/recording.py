"""A model that is recorded: its text goes to the viewers as it comes, its calls are committed.

It stands between the Agents SDK's run loop and a real model. The run loop gets an answer only
after it was written down, so no tool runs that the history doesn't know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from agents import Model, ModelResponse, ModelSettings, Tool, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputItem

from shared.settings import Settings
from shared.store.calls import new_call
from shared.store.messages import NewCall
from shared.text import TextSanitiser, sanitise
from worker.chat_model import ChatModel, Cut, Part, Question, Refusal, Tokens, ToolCall, output_of
from worker.failures import (
    AnswerTooLong,
    ModelEmpty,
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


class Answer(msgspec.Struct):
    """All of an answer but its text, which is in the message."""

    calls: list[ToolCall] = []
    refusal: str = ""
    cut: str = ""
    usage: dict[str, int] = msgspec.field(default_factory=lambda: {"model_calls": 1})

    @property
    def finish(self) -> str:
        """Why the model stopped, for the log."""
        if self.refusal:
            return "refusal"
        return "tool_calls" if self.calls else self.cut or "stop"


class RecordedModel(Model):
    """Wraps `inner` for one attempt at one turn.

    What it is asked is not what the run loop has gathered but what `read` finds in the rows: so a
    turn goes on as it was begun, after a crash too, and hears what the user said meanwhile.
    """

    def __init__(
        self,
        inner: ChatModel,
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

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: ARG002 (the rows are read instead)
        model_settings: ModelSettings,  # noqa: ARG002
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        try:
            self._calls += 1
            if self._calls > self._settings.parley_max_model_calls:
                raise TooManyModelCalls
            question = Question(system_instructions or "", await self._read(), tools)
            await reached(Step.MODEL_ASKED)
            return await self._call(self._inner.answer(question))
        except Exception as error:
            self.failure = self.failure or error
            raise

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError("The run loop gets whole answers; the viewers get the pieces.")

    async def _call(self, parts: AsyncGenerator[Part]) -> ModelResponse:
        async with self._recorder.new_message() as message:
            with self._tally.model_call() as timed:
                answer = await self._listen(parts, message, timed)
        await reached(Step.MODEL_ANSWERED)
        self._recorder.count_usage(answer.usage)
        if answer.refusal:
            message.write("" if message.text else sanitise(answer.refusal))
            raise ModelRefused
        metadata = {"incomplete": answer.cut} if answer.cut else {}
        output = output_of(message.text, answer.calls)
        if answer.calls:
            await self._commit_calls(output, metadata)
        elif message.text.strip():
            self.final_metadata = metadata
        else:
            raise ModelEmpty
        return ModelResponse(output=output, usage=Usage(requests=1), response_id=None)

    async def _listen(
        self, parts: AsyncGenerator[Part], message: LiveMessage, timed: ModelCall
    ) -> Answer:
        """The finished answer; text is written as it comes, within all limits."""
        text, answer = TextSanitiser(), Answer()
        clock = asyncio.get_running_loop().time
        heard = clock()
        end = heard + self._settings.parley_model_timeout_seconds
        idle = self._settings.parley_model_idle_timeout_seconds
        try:
            async with aclosing(parts), asyncio.timeout_at(min(end, heard + idle)) as limit:
                async for part in parts:
                    # A timer costs more than a piece of text: it need not be exact.
                    if (now := clock()) > heard + idle / 20:
                        heard = now
                        limit.reschedule(min(end, now + idle))
                    match part:
                        case str():
                            await self._write(text.feed(part), message, timed)
                        case ToolCall():
                            answer.calls.append(part)
                        case Tokens():
                            answer.usage = usage_of(part)
                        case Refusal():
                            answer.refusal += part.text
                        case Cut():
                            answer.cut = part.reason
        except TimeoutError:
            raise ModelTimeout from None
        timed.answered(answer.finish, answer.usage)
        message.write(text.close())
        return answer

    async def _write(self, piece: str, message: LiveMessage, timed: ModelCall) -> None:
        self._recorder.first_token()
        timed.first_token()
        room = self._settings.parley_max_answer_chars - len(message.text)
        message.write(piece[:room])
        await reached(Step.MODEL_FIRST_TEXT)
        if len(piece) > room:
            raise AnswerTooLong

    async def _commit_calls(
        self, output: Sequence[ResponseOutputItem], metadata: dict[str, Any]
    ) -> None:
        """Gives the calls ids of ours and writes them down, before any of them runs."""
        calls: list[NewCall] = []
        for item in output:
            if not isinstance(item, ResponseFunctionToolCall):
                continue
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


def usage_of(tokens: Tokens) -> dict[str, int]:
    return {
        "model_calls": 1,
        "input_tokens": tokens.prompt,
        "output_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }
