"""`parley status`: the processes by their pid files, and what the service says of itself."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.data_dir import DataDir
from cli.plan import MARKERS, STOP_ORDER
from cli.process import find_by_pid_file
from cli.server import find_url

MEBIBYTE = 1024 * 1024


def show_status(data: DataDir, url: str) -> bool:
    """True if every process is up and the service is ready."""
    console = Console(highlight=False)
    processes_up = show_processes(console, data)
    return show_parts(console, find_url(url, data)) and processes_up


def show_processes(console: Console, data: DataDir) -> bool:
    table = Table("Process", "State", "Pid", "Uptime", "Memory", box=None)
    found = [(path, running(path)) for path in pid_files(data)]
    for path, process in found:
        table.add_row(path.stem, *describe(process))
    if found:
        console.print(table)
    else:
        console.print(f"Nothing was started in {data.root}", soft_wrap=True)
    return all(process is not None for _, process in found)


def show_parts(console: Console, url: str) -> bool:
    """The entries of /health/ready, in whatever detail it gives them."""
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5, trust_env=False)
        body: Any = answer.json()
    except (httpx.HTTPError, ValueError):
        console.print(f"No answer from {url}", style="red")
        return False
    ready = answer.is_success
    console.print(
        f"{url} is {'ready' if ready else 'not ready'}", style="green" if ready else "red"
    )
    for name, state in parts_of(body).items():
        console.print(f"  {name}: {in_words(state)}")
    return ready


def parts_of(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        return {}
    known = cast(dict[str, Any], body)
    return known.get("parts") or known


def in_words(state: Any) -> str:
    if not isinstance(state, dict):
        return str(state)
    return ", ".join(str(value) for value in cast(dict[str, Any], state).values())


def pid_files(data: DataDir) -> list[Path]:
    return [path for prefix in STOP_ORDER for path in sorted(data.run.glob(f"{prefix}*.pid"))]


def running(pid_file: Path) -> psutil.Process | None:
    marker = next(text for name, text in MARKERS.items() if pid_file.stem.startswith(name))
    return find_by_pid_file(pid_file, marker)


def describe(process: psutil.Process | None) -> tuple[str | Text, ...]:
    if process is not None:
        try:
            uptime = timedelta(seconds=int(time.time() - process.create_time()))
            memory = process.memory_info().rss / MEBIBYTE
        except psutil.Error:
            pass
        else:
            return Text("up", style="green"), str(process.pid), str(uptime), f"{memory:.0f} MiB"
    return Text("down", style="red"), "-", "-", "-"
