"""What people see: on stderr, so that stdout carries only what programs read."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import import_module

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

err = Console(stderr=True, highlight=False)


class Progress:
    """A spinner on a terminal, a line per step elsewhere.

    It draws only when told to: a drawing thread would stand in the way of starting processes.
    """

    def __init__(self) -> None:
        self._spinner = Spinner("dots")
        self._live = Live(self._spinner, console=err, auto_refresh=False, transient=True)

    def step(self, text: str) -> None:
        if err.is_terminal:
            self._spinner.update(text=Text(f"{text} …"))
            self.tick()
        else:
            tell(f"{text} …")

    def tick(self) -> None:
        if err.is_terminal:
            self._live.refresh()

    @contextmanager
    def shown(self) -> Generator[None]:
        if not err.is_terminal:
            yield
            return
        with self._live:
            yield


def tell(text: str) -> None:
    """A plain line, never read as markup and never wrapped."""
    err.print(Text(text), soft_wrap=True)


def complain(text: str) -> None:
    err.print(Text(text, style="bold red"), soft_wrap=True)


def somebody_is_there() -> bool:
    """Whether a question would be answered by a person, and not by the next line of a file."""
    return sys.stdin.isatty()


def ask(prompt: str) -> str | None:
    """A line of input, None at its end. Prompts on stderr: stdout carries only answers.

    Ctrl-C leaves the line and goes on to whoever knows what it means.
    """
    if somebody_is_there():
        with suppress(ImportError):
            import_module("readline")  # line editing and history for input()
        err.print(Text(prompt, style="bold"), end="")
    try:
        return input()
    except EOFError:
        return None
    except KeyboardInterrupt:
        os.write(sys.stderr.fileno(), b"\n")
        raise
