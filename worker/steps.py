"""The named steps of a turn: where the proof stops a worker, and a reader sees what can be lost.

In a service nothing happens here. A test, or a worker started by `worker.rigged`, puts its own
function in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

Reach = Callable[["Step"], Awaitable[None]]


class Step(StrEnum):
    """In the order in which a turn with a tool call and an answer passes them.

    A `…_written` step lies before the commit, `…_committed` between the commit and the feed,
    `…_told` behind the feed.
    """

    claim_written = "claim_written"
    claim_committed = "claim_committed"
    claim_told = "claim_told"
    model_asked = "model_asked"
    model_first_text = "model_first_text"
    model_answered = "model_answered"
    calls_written = "calls_written"
    calls_committed = "calls_committed"
    calls_told = "calls_told"
    tool_started = "tool_started"
    result_written = "result_written"
    result_committed = "result_committed"
    result_told = "result_told"
    end_written = "end_written"
    end_committed = "end_committed"
    end_told = "end_told"


async def _pass(_: Step) -> None:
    """Nothing waits here."""


_reach: Reach = _pass


async def reached(step: Step) -> None:
    await _reach(step)


def rig(reach: Reach = _pass) -> None:
    """From now on `reach` is called at every step; without an argument, nothing is."""
    global _reach  # noqa: PLW0603
    _reach = reach
