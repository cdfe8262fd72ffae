"""`parley doctor`: what is wrong with a deployment, or with a `parley up` that doesn't work.

Read `examine` first: it is the whole story.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence

import msgspec
import structlog
from rich.console import Console
from rich.text import Text

from cli.data_dir import DataDir
from cli.doctor_api import Expected, address_of, examine_api
from cli.doctor_children import ask_api, ask_worker
from cli.doctor_findings import Finding, State, counted, exit_code, unknown
from cli.doctor_machine import check_disk, check_files
from cli.doctor_model import MODEL, of_probe
from cli.doctor_postgres import NEEDS_POSTGRES, examine_postgres
from cli.doctor_redis import NEEDS_REDIS, examine_redis
from cli.doctor_settings import (
    Source,
    Surroundings,
    check_embedded,
    check_processes,
    check_settings,
    surroundings,
)
from cli.plan import reachable_url
from cli.server import find_url

ORDER = (
    *("settings", "processes", "embedded", "port", "api", "postgres", "connections"),
    *("row security", "migrations", "database", "redis", "redis memory", "workers", "queue"),
    *("rings", MODEL, "clock", "redis clock", "disk", "open files"),
)
STYLES = {
    State.ok: "green",
    State.warning: "yellow",
    State.failure: "bold red",
    State.unknown: "dim",
}
STATE_WIDTH = max(len(state.value) for state in State)
CHECK_WIDTH = max(len(name) for name in ORDER)
NEEDS_SETTINGS = ("postgres", *NEEDS_POSTGRES, "redis", *NEEDS_REDIS, MODEL)


class Report(msgspec.Struct, frozen=True):
    """With --json."""

    ok: bool
    """No check failed; there may be warnings."""
    checks: list[Finding]


def doctor(data: DataDir, url: str, *, as_json: bool, model_seconds: float) -> bool:
    """True if no check failed. `model_seconds` is how long the model may take."""
    make_quiet()
    if url:
        address_of(url)
    findings = asyncio.run(examine(data, url, model_seconds))
    fine = exit_code(findings) == 0
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(Report(fine, findings))).decode())
    else:
        show(Console(highlight=False), findings)
    return fine


def make_quiet() -> None:
    """Our own libraries would log to standard output what the findings say."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # A resolver that is away makes glibc wait for much longer than a check may take.
    os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:1")


async def examine(data: DataDir, url: str, model_seconds: float) -> list[Finding]:
    """Every check, side by side; told in one order."""
    around = surroundings(data)
    findings = [check_settings(around, data), check_disk(data.root)]
    if around.source is not Source.environment and (processes := check_processes(data)):
        findings.append(processes)
    if around.source is Source.nothing:
        findings.append(check_embedded())
    address = url or address_in(around, data)
    findings += await examine_parts(around, address, model_seconds, named=bool(url))
    return sorted(findings, key=lambda finding: ORDER.index(finding.check))


def address_in(around: Surroundings, data: DataDir) -> str:
    """Where the API is by its settings, or as `parley up` noted it."""
    if around.settings is None or around.source is not Source.environment:
        return find_url("", data)
    return reachable_url(around.settings.parley_host, around.settings.parley_port)


async def examine_parts(
    around: Surroundings, url: str, model_seconds: float, *, named: bool
) -> list[Finding]:
    """`named`: somebody says that the API is there."""
    if around.settings is None or around.source is Source.nothing:
        why = "the settings are not valid" if around.problems else "`parley up` doesn't run"
        expected = Expected.running if named else Expected.free
        return [*(unknown(name, why) for name in NEEDS_SETTINGS), *await examine_api(url, expected)]
    expected = Expected.running if named or around.source is Source.up else Expected.maybe
    parts = await asyncio.gather(
        examine_postgres(around.settings),
        examine_redis(around.settings),
        examine_api(url, expected, ask_api),
        examine_model(model_seconds),
    )
    files = check_files(around.settings.parley_limit_streams)
    return [files, *(finding for part in parts for finding in part)]


async def examine_model(seconds: float) -> list[Finding]:
    return [of_probe(await ask_worker(seconds))]


def together(findings: Sequence[Finding]) -> list[Finding]:
    """What was not checked for one reason in one line, where the first of it stands."""
    names: dict[str, list[str]] = {}
    for finding in findings:
        if finding.state is State.unknown:
            names.setdefault(finding.said, []).append(finding.check)
    shown: list[Finding] = []
    for finding in findings:
        if finding.state is not State.unknown:
            shown.append(finding)
        elif named := names.pop(finding.said, []):
            first, *others = named
            said = f"{finding.said}; nor {', '.join(others)}" if others else finding.said
            shown.append(unknown(first, said))
    return shown


def show(console: Console, findings: Sequence[Finding]) -> None:
    """A line each, and its remedy below it."""
    for finding in together(findings):
        line = Text(f"{finding.state.value:<{STATE_WIDTH}}  ", style=STYLES[finding.state])
        line.append(f"{finding.check:<{CHECK_WIDTH}}  ", style="default not bold not dim")
        line.append(finding.said, style="default not bold not dim")
        console.print(line, soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"{'':<{STATE_WIDTH}}  → {finding.remedy}"), soft_wrap=True)
    count = Counter(finding.state for finding in findings)
    failures, warnings = count[State.failure], count[State.warning]
    summary = f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}"
    console.print(Text(summary, style="red" if failures else "green"))
