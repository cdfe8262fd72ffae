"""The built-in demo model: SmolLM2 with 135M parameters, on this machine, with no key.

It streams real text from a real model, and uses the to-do tools. What a model of this size can't
do is taken off it, openly: the user's words choose the tool (demo_routing), tool results are said
in plain sentences (demo_results), and questions about what the user told earlier are asked with
just those sentences in view. The agent's own instructions are left out: longer instructions than
these made every answer worse.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agents import FunctionTool

from worker.chat_completions import parts_of
from worker.chat_model import ChatModel, Part, Question, Tokens, ToolCall
from worker.demo_prompts import Prompt, arguments_prompt, chat_prompt, within
from worker.demo_results import truthful
from worker.demo_routing import spans
from worker.demo_steps import Chat, Conversation, FillIn, Run, Say, next_step, read
from worker.failures import ModelInvalid
from worker.provider import Provider

DEMO_MODEL_NAME = "demo/smollm2-135m-instruct"
# It loops on its own phrases, so a repeated run of words gets ever less likely; and whatever it
# doesn't understand it is "sorry for your loss" of.
SAMPLING = {"dry_multiplier": 0.8, "dry_allowed_length": 4, "logit_bias": [[" sorry", -4]]}
SERVED_NAME = "smollm2-135m-instruct"


class DemoModel(ChatModel):
    name = DEMO_MODEL_NAME

    def __init__(self, provider: Provider) -> None:
        """`provider` is the server that `python -m cli.demo_model` runs."""
        self._provider = provider

    async def answer(self, question: Question) -> AsyncGenerator[Part]:
        conversation = read(question.items)
        match next_step(conversation, question.tools):
            case Say(text):
                yield text
            case Run(calls):
                for call in calls:
                    yield call
            case FillIn(tool):
                async with aclosing(self._fill_in(conversation, tool)) as parts:
                    async for part in parts:
                        yield part
            case Chat():
                chat = self._chat(chat_prompt(conversation.messages))
                async with aclosing(truthful(chat)) as parts:
                    async for part in parts:
                        yield part

    async def close(self) -> None:
        await self._provider.close()

    async def _chat(self, prompt: Prompt) -> AsyncGenerator[Part]:
        if prompt.opening:
            yield prompt.opening
        if prompt.settled:
            return
        asked = {
            "messages": prompt.messages,
            "temperature": 0,
            "max_tokens": prompt.max_tokens,
        }
        async with aclosing(self._ask(asked | SAMPLING)) as parts:
            async for part in parts:
                yield part

    def _ask(self, asked: dict[str, Any]) -> AsyncGenerator[Part]:
        served = {"model": SERVED_NAME, "stream_options": {"include_usage": True}}
        return parts_of(self._provider.stream(asked | served))

    async def _fill_in(
        self, conversation: Conversation, tool: FunctionTool
    ) -> AsyncGenerator[Part]:
        """Ask the model for the arguments; it may only copy them from the user's message."""
        request = conversation.request
        schema = within(tool.params_json_schema, spans(request))
        if schema is None:
            yield f"To use `{tool.name}` I need more from you than your message says."
            return
        asked = {
            "messages": arguments_prompt(tool.name, tool.description, request),
            "temperature": 0,
            "max_tokens": 200,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "arguments", "schema": schema, "strict": True},
            },
        }
        text = ""
        async with aclosing(self._ask(asked)) as parts:
            async for part in parts:
                match part:
                    case str():
                        text += part
                    case Tokens():
                        yield part
                    case _:
                        pass
        try:
            json.loads(text)
        except ValueError as error:
            raise ModelInvalid from error
        yield ToolCall(tool.name, text)
