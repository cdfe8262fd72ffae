"""What a message tells the stand-in model to do, and so what it must have said. Pure.

The grammar stands in `stand_in.py`. The stand-in obeys with these functions and the checks
judge with them: an answer follows from the message alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

FAULTS = ("429", "500", "503", "cut", "stall", "reset", "hang", "garbage", "html", "error")
"""What `flaky` can do instead of answering; all of them pass, so all are worth another try."""

_FLAKY = re.compile(rf"flaky ({'|'.join(FAULTS)}) (\d+) ", re.ASCII)
_CALL = re.compile(r"^call (\w+) (.*)$", re.MULTILINE)
_STEP = re.compile(r"again (\w+) (\{[^}]*\})")
_THEN = re.compile(r"\nthen (.*)\Z", re.DOTALL)
_TITLE = re.compile(r"^entitle (.*)\Z", re.MULTILINE)
_SAYS = frozenset({"say", "gated", "cut", "stall", "length", "refuse"})

Asked = tuple[str, str]
"""A tool's name and its arguments, as JSON."""


@dataclass(frozen=True)
class Flaky:
    """Fails the first `tries` requests, then does the rest."""

    kind: str
    tries: int
    rest: str


def flaky(text: str) -> Flaky | None:
    found = _FLAKY.match(text)
    return Flaky(found[1], int(found[2]), text[found.end() :]) if found else None


def steady(text: str) -> str:
    """The directive without the faults before it."""
    while (found := flaky(text)) is not None:
        text = found.rest
    return text


def faultless(text: str) -> str:
    """The same without a fault anywhere."""
    text = steady(text)
    after = then(text)
    return text if after is None else text.removesuffix(after) + faultless(after)


def verb(text: str) -> str:
    return text.partition(" ")[0]


def calls(text: str) -> list[Asked]:
    """The tools asked for in one answer."""
    return _CALL.findall(text)


def steps(text: str) -> list[Asked]:
    """The tools asked for one an answer."""
    return _STEP.findall(text)


def title(first: str) -> str | None:
    """What to do where a conversation that begins so is to be named: its last line may say."""
    found = _TITLE.search(first)
    return found[1] if found else None


def then(text: str) -> str | None:
    """What to do once the tools have answered."""
    found = _THEN.search(text)
    return found[1] if found else None


def due(text: str, results: int) -> str:
    """The part of a message that is to be done when so many tools have answered."""
    text_of_tools = steady(text)
    asked = _tools(text_of_tools)
    after = then(text_of_tools)
    return after if after is not None and asked and results >= len(asked) else text


def final_text(text: str) -> str | None:
    """The whole answer to a message; None if there is none, or if it depends on the tools."""
    text = steady(text)
    word, _, rest = text.partition(" ")
    if _tools(text):
        after = then(text)
        return final_text(after) if after is not None else None
    if word in _SAYS:
        return rest
    return rest.partition(" ")[2] if word == "slow" else None


def possible_texts(text: str) -> list[str]:
    """Everything the model may have begun to say to a message, each as a whole."""
    final = final_text(text)
    said = [step_text(number) for number in range(1, len(steps(steady(text))) + 1)]
    return [*said, *([final] if final is not None else [])]


def step_text(number: int) -> str:
    """What is said before the tool call of a step."""
    return f"Step {number}. "


def task_titles(text: str) -> list[str]:
    """The tasks that a message has made once it is answered."""
    asked = [json.loads(arguments) for name, arguments in _tools(steady(text)) if name == MAKES]
    return [str(arguments["title"]) for arguments in asked]


MAKES = "create_task"


def faults(text: str) -> list[Flaky]:
    """Every fault in the way of an answer, in the order they come."""
    found: list[Flaky] = []
    while True:
        if (fault := flaky(text)) is not None:
            found.append(fault)
            text = fault.rest
        elif _tools(text) and (after := then(text)) is not None:
            text = after
        else:
            return found


def is_refused(text: str) -> bool:
    final: Any = steady(text)
    return verb(final) == "refuse"


def _tools(text: str) -> list[Asked]:
    match verb(text):
        case "call":
            return calls(text)
        case "again":
            return steps(text)
        case _:
            return []
