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

    CLAIM_WRITTEN = "claim_written"
    CLAIM_COMMITTED = "claim_committed"
    CLAIM_TOLD = "claim_told"
    MODEL_ASKED = "model_asked"
    MODEL_FIRST_TEXT = "model_first_text"
    MODEL_ANSWERED = "model_answered"
    CALLS_WRITTEN = "calls_written"
    CALLS_COMMITTED = "calls_committed"
    CALLS_TOLD = "calls_told"
    TOOL_STARTED = "tool_started"
    RESULT_WRITTEN = "result_written"
    RESULT_COMMITTED = "result_committed"
    RESULT_TOLD = "result_told"
    END_WRITTEN = "end_written"
    END_COMMITTED = "end_committed"
    END_TOLD = "end_told"


async def _pass(_: Step) -> None:
    """Nothing waits here."""


_reach: Reach = _pass


async def reached(step: Step) -> None:
    await _reach(step)


def rig(reach: Reach = _pass) -> None:
    """From now on `reach` is called at every step; without an argument, nothing is."""
    global _reach  # noqa: PLW0603
    _reach = reach
