"""How an answer looks: Markdown that grows on a terminal, the bare text anywhere else."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from cli.console import complain, tell
from shared.events import Message, ToolCall


class View(Protocol):
    def text(self, piece: str) -> None: ...
    def void(self) -> None: ...
    def end_text(self) -> None: ...


class PlainView:
    """Writes every piece through at once. What is written can't be taken back, only repeated."""

    def __init__(self) -> None:
        self._open = False

    def text(self, piece: str) -> None:
        self._open = True
        print(piece, end="", flush=True)

    def void(self) -> None:
        self.end_text()
        tell("(the answer starts again)")

    def end_text(self) -> None:
        if self._open:
            print(flush=True)
        self._open = False


class LiveView:
    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._text = ""
        self._live: Live | None = None

    def text(self, piece: str) -> None:
        self._text += piece
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=12)
            self._live.start()
        self._live.update(Markdown(self._text))

    def void(self) -> None:
        self._text = ""
        if self._live is not None:
            self._live.update(Markdown(""))

    def end_text(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live, self._text = None, ""


class ToolNotes:
    """A line when a tool starts and one when it is done."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def started(self, call: ToolCall) -> None:
        self._names[call.id] = call.tool_name
        tell(f"AI is using: {call.tool_name}")

    def ended(self, message: Message) -> None:
        given = str(message.metadata.get("tool_name", "tool"))
        name = self._names.pop(message.tool_call_id or "", given)
        line = f"  {name}: {message.status} after {message.metadata.get('duration_ms', 0)} ms"
        (tell if message.status == "completed" else complain)(line)


def make_view() -> View:
    return LiveView() if sys.stdout.isatty() else PlainView()
