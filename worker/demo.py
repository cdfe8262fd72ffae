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
from typing import cast

from agents import FunctionTool, ModelBehaviorError, Tool
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from worker.demo_prompts import Prompt, arguments_prompt, chat_prompt, within
from worker.demo_results import truthful
from worker.demo_routing import spans
from worker.demo_steps import Chat, Conversation, FillIn, Run, Say, next_step, read
from worker.model_events import Items, OwnModel, Part, Tokens, ToolCall

DEMO_MODEL_NAME = "demo/smollm2-135m-instruct"
# It loops on its own phrases, so a repeated run of words gets ever less likely; and whatever it
# doesn't understand it is "sorry for your loss" of.
SAMPLING = {"dry_multiplier": 0.8, "dry_allowed_length": 4, "logit_bias": [[" sorry", -4]]}
SERVED_NAME = "smollm2-135m-instruct"


class DemoModel(OwnModel):
    name = DEMO_MODEL_NAME

    def __init__(self, client: AsyncOpenAI) -> None:
        """`client` points at the server that `python -m cli.demo_model` runs."""
        self._client = client

    async def answer(self, items: Items, tools: list[Tool]) -> AsyncGenerator[Part]:
        conversation = read(items)
        match next_step(conversation, tools):
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

    async def _chat(self, prompt: Prompt) -> AsyncGenerator[Part]:
        if prompt.opening:
            yield prompt.opening
        if prompt.settled:
            return
        stream = await self._client.chat.completions.create(
            model=SERVED_NAME,
            messages=cast("list[ChatCompletionMessageParam]", prompt.messages),
            temperature=0,
            max_tokens=prompt.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=SAMPLING,
        )
        finished = False
        async with stream:
            async for chunk in stream:
                if chunk.usage:
                    yield Tokens(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                for choice in chunk.choices:
                    finished = finished or choice.finish_reason is not None
                    yield choice.delta.content or ""
        if not finished:
            raise ModelBehaviorError("the demo model's stream ended before its answer did")

    async def _fill_in(
        self, conversation: Conversation, tool: FunctionTool
    ) -> AsyncGenerator[Part]:
        """Ask the model for the arguments; it may only copy them from the user's message."""
        request = conversation.request
        schema = within(tool.params_json_schema, spans(request))
        if schema is None:
            yield f"To use `{tool.name}` I need more from you than your message says."
            return
        reply = await self._client.chat.completions.create(
            model=SERVED_NAME,
            messages=cast(
                "list[ChatCompletionMessageParam]",
                arguments_prompt(tool.name, tool.description, request),
            ),
            temperature=0,
            max_tokens=200,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "arguments", "schema": schema, "strict": True},
            },
        )
        if reply.usage:
            yield Tokens(reply.usage.prompt_tokens, reply.usage.completion_tokens)
        text = reply.choices[0].message.content or ""
        try:
            json.loads(text)
        except ValueError as error:
            raise ModelBehaviorError("the demo model's arguments are not JSON") from error
        yield ToolCall(tool.name, text)
