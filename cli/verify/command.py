"""`parley verify`: a service of its own in a scratch directory, a storm, the steps, a verdict.

Read `verify` first: it is the whole story.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from cli.console import Progress, err
from cli.errors import CliError, DataDirError
from cli.verify.cells import Outcome, cells
from cli.verify.conduct import Complaints
from cli.verify.invariants import Violation
from cli.verify.report import Report
from cli.verify.stack import Stack
from cli.verify.steps import prove_all
from cli.verify.storm import Options, Storm, StormResult

DRAW_SECONDS = 0.2
TELL_SECONDS = 5.0


@dataclass(frozen=True)
class Wanted:
    """The options of the command."""

    options: Options
    storm: bool
    steps: bool
    data_dir: Path | None
    report: Path | None
    keep: bool


def verify(wanted: Wanted) -> bool:
    """Prints the report; True if nothing was violated. Raises CliError if there is no proof."""
    began = time.monotonic()
    root = scratch(wanted.data_dir)
    proof = Proof(root)
    try:
        asyncio.run(proof.run(wanted))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise CliError(f"Interrupted. The logs are in {root}") from None
    except CliError as error:
        raise CliError(f"{error}\nThe logs are in {root}") from None
    keep = wanted.keep or bool(proof.violations)
    report = Report(
        seed=wanted.options.seed,
        storm=proof.storm,
        steps=proof.outcomes,
        violations=proof.violations,
        checked=proof.checked,
        seconds=time.monotonic() - began,
        kept=str(root) if keep else "",
    )
    if not keep:
        shutil.rmtree(root, ignore_errors=True)
    publish(report, wanted.report)
    return report.good


class Proof:
    """What has been found out so far."""

    def __init__(self, root: Path) -> None:
        self.storm: StormResult | None = None
        self.outcomes: list[Outcome] = []
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()
        self._root = root
        self._progress = Progress()

    async def run(self, wanted: Wanted) -> None:
        """Cancelled by SIGTERM, as by Ctrl-C."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with self._progress.shown():
            if wanted.storm:
                await self._storm(wanted.options)
            if wanted.steps:
                await self._steps()

    async def _storm(self, options: Options) -> None:
        stack = Stack(self._root / "storm", workers=options.workers, apis=options.apis)
        storm = Storm(stack, options)
        try:
            async with self._shown(storm.status):
                self.storm = await storm.run()
        finally:
            await stack.abandon()
        self.violations += self.storm.violations
        self.checked.update(self.storm.checked)

    async def _steps(self) -> None:
        total = len(cells())
        complaints = Complaints()
        async with self._shown(lambda: f"steps · {len(self.outcomes)} of {total} proved"):
            await prove_all(self._root, self.outcomes.append, complaints)
        self.violations += complaints.violations
        self.checked.update(complaints.checked)

    @asynccontextmanager
    async def _shown(self, status: Callable[[], str]) -> AsyncGenerator[None]:
        async def show() -> None:
            while True:
                self._progress.step(status())
                await asyncio.sleep(DRAW_SECONDS if err.is_terminal else TELL_SECONDS)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()


def scratch(folder: Path | None) -> Path:
    """A new directory; what else is in `folder` is nobody's business here."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="parley-verify-", dir=folder)).resolve()
    except OSError as error:
        raise DataDirError(f"{folder} can't be used: {error.strerror or error}") from None


def publish(report: Report, file: Path | None) -> None:
    text = report.markdown()
    if file is not None:
        file.write_text(text)
    if sys.stdout.isatty():
        Console(highlight=False).print(Markdown(text))
    else:
        print(text, end="", flush=True)
