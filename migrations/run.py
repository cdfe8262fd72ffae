"""Brings a database to this release's schema: `python -m migrations.run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from shared.addresses import postgres_address


def config(database_url: str | None = None) -> Config:
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent))
    found.set_main_option("path_separator", "os")
    if database_url:
        found.attributes["database_url"] = database_url
    return found


def upgrade(database_url: str) -> None:
    """To the newest revision; nothing happens where it is there already."""
    command.upgrade(config(database_url), "head")


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
    upgrade(url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
