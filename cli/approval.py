"""Asks at the terminal whether tool calls may run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cli.console import ask, complain, somebody_is_there, tell
from cli.errors import ServerError
from cli.server import Server
from shared.events import ToolCall, Turn

DECISIONS = {"y": "approve", "yes": "approve", "n": "deny", "no": "deny"}


def ask_for_approval(server: Server, turn: Turn, calls: Sequence[ToolCall]) -> None:
    """Whatever is left undecided here may be decided by another viewer; the turn waits. Where
    nobody is there to ask, the lines that come in are not for this question.
    """
    for call in calls:
        tell(f"The AI wants to use {call.tool_name} {shown(call)}")
        decision = decided() if somebody_is_there() else None
        if decision is None:
            tell("Not decided: the answer goes on once somebody approves or denies it")
            return
        try:
            server.decide(turn, call.id, decision)
        except ServerError as error:
            complain(str(error))


def decided() -> str | None:
    """None at the end of the input."""
    while (line := ask("approve? [y/n] ")) is not None:
        if (decision := DECISIONS.get(line.strip().lower())) is not None:
            return decision
    return None


def shown(call: ToolCall) -> str:
    """What will be done, with nothing in it that moves the cursor or turns the text around."""
    text = msgspec.json.encode(call.arguments).decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
