"""`parley erase`: what was asked for, a question, the work, the receipt."""

from __future__ import annotations

import asyncio
import os
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cli.data_dir import DataDir
from cli.erase import Receipt, Target
from cli.erase import erase as run
from cli.errors import EraseError
from cli.postgres import Postgres
from cli.valkey import Valkey
from shared.errors import RequestError, SettingsError
from shared.settings import Settings, load_settings
from shared.store.failures import DATABASE_ERRORS, kind_of
from shared.text import is_storable

UNFINISHED = "What went is gone; run it again for the rest"


def erase(user: str, conversation: str, data: DataDir, *, yes: bool, as_json: bool) -> bool:
    """True if nothing is left."""
    target = target_of(user, conversation)
    settings = settings_of(data)
    if not yes:
        what = f"user {user}" if user else f"conversation {conversation}"
        typer.confirm(f"Erase everything of {what}? It can't be undone", abort=True, err=True)
    try:
        receipt = asyncio.run(run(settings, target))
    except RequestError as error:
        why = f" ({kind_of(error.__cause__)})" if error.__cause__ is not None else ""
        raise EraseError(f"Not finished: {error.detail}{why}. {UNFINISHED}") from None
    except DATABASE_ERRORS as error:
        refused = f"Postgres refuses ({kind_of(error)})"
        raise EraseError(f"Not finished: {refused}. {UNFINISHED}") from None
    if as_json:
        print(msgspec.json.encode(receipt).decode())
    else:
        show(Console(highlight=False), receipt)
    return receipt.clean


def target_of(user: str, conversation: str) -> Target:
    if bool(user) == bool(conversation):
        raise EraseError("Name either --user or --conversation")
    if user:
        if not is_storable(user):
            raise EraseError("--user is no name: Postgres can't hold it")
        return Target(user=user)
    try:
        return Target(conversation=UUID(conversation))
    except ValueError:
        raise EraseError("--conversation is no id") from None


def settings_of(data: DataDir) -> Settings:
    """Of the environment, or those of the `parley up` that runs on the data directory."""
    if data.url_file.exists():
        # Empty is unset, as everywhere.
        os.environ["DATABASE_URL"] = os.environ.get("DATABASE_URL") or Postgres(data).url
        os.environ["REDIS_URL"] = os.environ.get("REDIS_URL") or Valkey(data).url
    try:
        return load_settings()
    except SettingsError as error:
        raise EraseError(
            f"{'; '.join(error.problems)}. Set DATABASE_URL and REDIS_URL, or name the directory "
            "of a running `parley up` with --data-dir"
        ) from None


def show(console: Console, receipt: Receipt) -> None:
    what = f"user {receipt.user}" if receipt.user else f"conversation {receipt.conversation}"
    console.print(f"Erased: {what}, {receipt.erased_at:%Y-%m-%d %H:%M:%S} UTC", markup=False)
    table = Table("Where", "What", "Erased", "Left", box=None)
    for place, gone, left in (
        ("Postgres", receipt.postgres, receipt.residue_postgres),
        ("Redis", receipt.redis, receipt.residue_redis),
    ):
        for name in sorted({*gone, *left}):
            table.add_row(place, name, str(gone.get(name, 0)), str(left.get(name, 0)))
    console.print(table)
    for problem in receipt.problems:
        console.print(problem, style="red", markup=False)
    left = sum((*receipt.residue_postgres.values(), *receipt.residue_redis.values()))
    console.print(f"Left: {left}", style="green" if receipt.clean else "red")
    console.print(f"Not touched, as another application's: {', '.join(receipt.not_touched)}")
    console.print(f"Took {receipt.seconds} s")
