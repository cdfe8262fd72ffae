"""The agent and its model, from the settings."""

from __future__ import annotations

import os
from copy import copy
from typing import NamedTuple

# Before anything of the SDK runs: it would send prompts, and the key, to its vendor.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

from agents import (
    Agent,
    RunConfig,
    RunContextWrapper,
    Runner,
    Tool,
    ToolExecutionConfig,
    set_tracing_disabled,
)

from shared.errors import SettingsError
from shared.settings import Settings
from worker.chat_completions import ChatCompletionsModel
from worker.chat_model import ChatModel
from worker.demo import DemoModel
from worker.echo import ECHO_MODEL_NAME, EchoModel
from worker.provider import Provider
from worker.recording import RecordedModel
from worker.tools.tool import Toolbox

set_tracing_disabled(True)

OPENAI_URL = "https://api.openai.com/v1"
OPENROUTER_URL = "https://openrouter.ai/api/v1"
DEFAULT_MODEL = "gpt-4.1-mini"

INSTRUCTIONS = """\
You are Parley, a helpful assistant. You answer in the user's language, briefly and in Markdown.
You can manage the user's to-do tasks with the tools you are given. Use them when the user speaks
of tasks, to-dos or reminders; to change a task you don't know the id of, list the tasks first.
Say what you did after a tool has run, and never claim what a tool did not confirm."""

RUN_CONFIG = RunConfig(
    # `worker/sdk_spans.py` turns it on, to be told itself: of no prompt and no argument even then.
    tracing_disabled=True,
    tracing={"include_task_and_turn_spans": False},
    trace_include_sensitive_data=False,
    tool_not_found_behavior="return_error_to_model",
    # One after the other, in the order the model asked: "a task for A, then one for B" is made so.
    # Their transactions would wait for the conversation's lock anyway.
    tool_execution=ToolExecutionConfig(max_function_tool_concurrency=1),
)


class ParleyAgent(Agent[Toolbox]):
    """One for all turns: its tools are those of the turn that it runs.

    Making an agent, and telling by its tools which one it is, costs the SDK more than running it.
    """

    async def get_all_tools(self, run_context: RunContextWrapper[Toolbox]) -> list[Tool]:
        return [*run_context.context.sdk_tools()]


AGENT = ParleyAgent(name="Parley", instructions=INSTRUCTIONS)


async def run_agent(model: RecordedModel, toolbox: Toolbox, *, max_turns: int) -> None:
    """The SDK's run loop, until the model has answered."""
    # A copy as it is: where one is made anew, the SDK looks at the types of all its fields.
    config = copy(RUN_CONFIG)
    config.model = model
    await Runner.run(
        AGENT,
        [],  # the model reads the rows by itself
        context=toolbox,
        max_turns=max_turns,
        run_config=config,
    )


class ChosenModel(NamedTuple):
    """The model, and what it is fit for."""

    model: ChatModel
    gives_titles: bool = False
    """It has a provider behind it: `echo` and the demo model have none to give."""
    demo: bool = False


def choose_model(settings: Settings) -> ChosenModel:
    """Which model answers. Raises SettingsError if none is configured."""
    if settings.parley_model == ECHO_MODEL_NAME:
        return ChosenModel(EchoModel())
    openai_key = settings.openai_api_key.get_secret_value()
    openrouter_key = settings.openrouter_api_key.get_secret_value()
    if settings.openai_base_url or openai_key:
        url = settings.openai_base_url or OPENAI_URL
        return _compatible(settings, url, openai_key, DEFAULT_MODEL)
    if openrouter_key:
        return _compatible(settings, OPENROUTER_URL, openrouter_key, f"openai/{DEFAULT_MODEL}")
    if settings.parley_demo_url:
        provider = Provider(settings.parley_demo_url, "none")
        return ChosenModel(DemoModel(provider), demo=True)
    raise SettingsError(
        ["No model: set OPENAI_API_KEY, OPENROUTER_API_KEY, OPENAI_BASE_URL or PARLEY_MODEL=echo"]
    )


def _compatible(settings: Settings, url: str, key: str, default: str) -> ChosenModel:
    model = ChatCompletionsModel(settings.parley_model or default, Provider(url, key or "none"))
    return ChosenModel(model, gives_titles=True)
