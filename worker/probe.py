"""Asks the configured model for a few words, as a turn would, and prints in one line of JSON how
that went: `python -m worker.probe --seconds 15`.

For `parley doctor`. Settings, client and request are those of a worker: what fails here would fail
there. Neither the key nor any word of the model or its provider is printed.
"""

from __future__ import annotations

import gc

import pydantic

if __name__ == "__main__":
    # As a worker does, and for its reasons (`main.py`): loading is most of what is done here.
    gc.disable()
    pydantic.BaseModel.model_config["defer_build"] = True

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from agents import FunctionTool

from shared.db import Transaction
from shared.errors import SettingsError
from shared.probed import Probed
from shared.settings import Settings, load_settings
from shared.tasks import TASK_TOOLS
from worker.agent import INSTRUCTIONS, OPENAI_URL, OPENROUTER_URL, ChosenModel, choose_model
from worker.chat_model import ChatModel, Question
from worker.failures import ModelRejected, failure_of
from worker.tools.servers import load_servers
from worker.tools.tool import Toolbox

ASKING = "Count from one to ten in English words. Answer with these ten words only."
PIECES = 100
"""Who has said so many is well; the rest of a chatty answer isn't waited for."""


class NothingRuns:
    """In place of a turn's recorder: the model is shown the tools, and none of them runs."""

    async def call_done(self, call_id: str, effect: Callable[[Transaction], Awaitable[Any]]) -> Any:
        raise NotImplementedError(call_id, effect)

    async def call_failed(self, call_id: str, result: Any) -> None:
        raise NotImplementedError(call_id, result)


async def probe(settings: Settings, seconds: float) -> Probed:
    """Never takes much longer than `seconds`, and raises nothing that a model can cause."""
    try:
        load_servers(settings)
        chosen = choose_model(settings)
    except SettingsError as error:
        return Probed(problems=list(error.problems))
    kind = kind_of(chosen)
    at = "" if kind == "echo" else host_of(settings)
    found = Probed(model=chosen.model.name, at=at, kind=kind)
    try:
        async with asyncio.timeout(seconds):
            await ask(chosen.model, found)
    except Exception as error:
        if found.pieces == 0 or not isinstance(error, TimeoutError):
            found.error = failure_of(error).code
        found.status = error.status if isinstance(error, ModelRejected) else 0
    finally:
        await chosen.model.close()
    return found


async def ask(model: ChatModel, found: Probed) -> None:
    """Notes in `found` what comes, as it comes."""
    began = time.monotonic()
    question = Question(INSTRUCTIONS, [{"role": "user", "content": ASKING}], tools())
    async with aclosing(model.answer(question)) as parts:
        async for part in parts:
            if isinstance(part, str):
                found.pieces += 1
                found.seconds = time.monotonic() - began
                found.first_seconds = found.first_seconds or found.seconds
            if found.pieces >= PIECES:
                return


def tools() -> list[FunctionTool]:
    """Those that every turn has: some models can't be asked with any."""
    return Toolbox(TASK_TOOLS, owner="nobody", recorder=NothingRuns(), timeout=1).sdk_tools()


def kind_of(chosen: ChosenModel) -> str:
    if chosen.demo:
        return "demo"
    return "provider" if chosen.gives_titles else "echo"


def host_of(settings: Settings) -> str:
    """Of the address that `choose_model` takes; nothing else of it, which may hold a password."""
    url = settings.openai_base_url or settings.parley_demo_url
    if not settings.openai_base_url and settings.openai_api_key.get_secret_value():
        url = OPENAI_URL
    elif not settings.openai_base_url and settings.openrouter_api_key.get_secret_value():
        url = OPENROUTER_URL
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    seconds: float = parser.parse_args().seconds
    # Standard output is for the one line.
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    try:
        found = asyncio.run(probe(load_settings(), seconds))
    except SettingsError as error:
        found = Probed(problems=list(error.problems))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
