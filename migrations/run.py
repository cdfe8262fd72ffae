"""Brings a database to this release's schema: `python -m migrations.run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations.locks import LOCK_SECONDS, TRIES, TableLockedError
from shared.addresses import postgres_address

TRY_LATER = 75
"""Exit code (EX_TEMPFAIL): nothing is wrong, and nothing half done."""


def config(database_url: str | None = None) -> Config:
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent))
    found.set_main_option("path_separator", "os")
    if database_url:
        found.attributes["database_url"] = database_url
    return found


def upgrade(database_url: str, revision: str = "head") -> None:
    """To the newest revision, or the one named; nothing happens where it is there already, or
    where a newer release has been.

    Raises TableLockedError where a table was locked by somebody else for too long.
    """
    found = config(database_url)
    found.attributes["may_be_newer"] = True
    command.upgrade(found, revision)


def newest_revision() -> str:
    head = ScriptDirectory.from_config(config()).get_current_head()
    assert head is not None
    return head


def main() -> int:
    url = os.environ.get("DATABASE_URL")
    try:
        if not url:
            raise ValueError("Field required")
        postgres_address(url)
    except ValueError as error:
        sys.stderr.write(f"DATABASE_URL: {error}\n")
        return 2
    try:
        upgrade(url)
    except TableLockedError:
        sys.stderr.write(
            f"A table was locked by somebody else: {TRIES} tries of {LOCK_SECONDS:g} s each, so"
            " that nobody had to wait behind them. What was done before is whole and stays, the"
            " rest is left: run it again when no long transaction is at work, of a backup say.\n"
        )
        return TRY_LATER
    except OSError as error:
        sys.stderr.write(f"Postgres does not answer ({type(error).__name__}): nothing was done.\n")
        return TRY_LATER
    return 0


if __name__ == "__main__":
    sys.exit(main())
