"""The figures of `parley status --watch`, as a picture and as a line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.doctor_api import Seen
from cli.doctor_findings import counted, lasting
from cli.watch_figures import LATELY, Figures, Source
from shared.store.doctor import Ended
from shared.store.fleet import WorkerState

SLOW_SECONDS = 5.0
OTHER_LINES = 10
"""Of the picture, beside the workers."""
NAME_CHARS = 8
"""Of a worker's id, its last: the first tell when it was started, which is when others were."""


def picture(figures: Figures, height: int) -> RenderableType:
    """Fits into `height` lines of 80 columns."""
    lines = [head(figures), Text(), queue_line(figures), *turn_lines(figures), Text()]
    return Group(*lines, workers_table(figures, height), Text("Ctrl-C ends this", style="dim"))


def head(figures: Figures) -> Text:
    line = plain(f"Parley at {figures.url} ")
    line.append_text(readiness(figures.api))
    return line.append(f"  {datetime.now().astimezone():%H:%M:%S}", style="dim")


def readiness(api: Source[Seen]) -> Text:
    if api.value is None:
        return Text("doesn't answer", style="bold red")
    if api.value.ready:
        return Text("is ready", style="green")
    return Text("is not ready", style="bold red")


def queue_line(figures: Figures) -> Text:
    line = plain("Queue    ")
    rings = figures.rings.value
    if rings is None:
        line.append(f"Redis is away ({figures.rings.why})", style="bold red")
    else:
        line.append(counted(rings, "ring"))
    if figures.rows.value is not None:
        found = figures.rows.value.fleet
        line.append(f", {counted(found.queued, 'turn')} waiting")
        if (oldest := found.longest_wait_seconds) > 0:
            style = "bold red" if oldest > SLOW_SECONDS else ""
            line.append(f", one that could run for {lasting(oldest)}", style=style)
    return line


def turn_lines(figures: Figures) -> Iterator[Text]:
    rows = figures.rows.value
    if rows is None:
        yield plain(f"Postgres is away ({figures.rows.why})", style="bold red")
        return
    found, past = rows.fleet, rows.ended
    yield plain(
        f"Turns    {found.queued:,} queued, {found.running:,} running, "
        f"{found.awaiting_approval:,} awaiting approval"
    )
    yield plain(
        f"Minute   {past.completed:,} completed, {past.failed:,} failed, "
        f"{past.cancelled:,} cancelled, {past.taken_over:,} taken over"
    )
    yield plain(f"Rate     {rate(past):.2f} turns a second")


def rate(past: Ended) -> float:
    """Turns that ended, in each second of the last minute."""
    return (past.completed + past.failed + past.cancelled) / LATELY.total_seconds()


def workers_table(figures: Figures, height: int) -> RenderableType:
    if figures.rows.value is None:
        return Text()
    table = Table("Worker", box=None, pad_edge=False)
    table.add_column("Turns", justify="right")
    table.add_column("Lease", justify="right")
    states = sorted(figures.rows.value.workers, key=lambda state: -state.lease_seconds)
    room = max(1, height - OTHER_LINES)
    for state in states[:room]:
        table.add_row(str(state.id)[-NAME_CHARS:], f"{state.turns:,}", lease(state))
    if not states:
        table.add_row(Text("none", style="bold red"), "", "")
    if len(states) > room:
        return Group(table, Text(f"and {len(states) - room:,} more", style="dim"))
    return table


def lease(state: WorkerState) -> Text:
    if state.lease_seconds > 0:
        return Text(f"{state.lease_seconds:.1f} s left", style="green")
    return Text(f"ran out {lasting(-state.lease_seconds)} ago", style="red")


def plain(text: str, style: str = "") -> Text:
    """One line, whatever the terminal's width."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def one_line(figures: Figures) -> str:
    """For a file or a pipe: names and values, `-` where nothing is known."""
    rows, api = figures.rows.value, figures.api.value
    ready = "-" if api is None else "yes" if api.ready else "no"
    found = {"ready": ready, "rings": "-" if figures.rings.value is None else figures.rings.value}
    fleet, past = (rows.fleet, rows.ended) if rows else (None, None)
    for name in ("queued", "running", "awaiting_approval", "workers"):
        found[name] = "-" if fleet is None else getattr(fleet, name)
    found["oldest_seconds"] = "-" if fleet is None else f"{fleet.longest_wait_seconds:.1f}"
    for name in ("completed", "failed", "cancelled", "taken_over"):
        found[name] = "-" if past is None else getattr(past, name)
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%dT%H:%M:%SZ} " + " ".join(
        f"{name}={value}" for name, value in found.items()
    )
