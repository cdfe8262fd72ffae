"""Postgres refuses to run as root: then it runs as an OS user of its own."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.process import Account

NAME = "pgserver"  # the name the wheel's own helper uses, so both share one user
ACCOUNTS = "/etc"


def postgres_account() -> Account | None:
    """None for an ordinary user: Postgres simply runs as that one."""
    if os.geteuid() != 0:
        return None
    with one_at_a_time():
        with suppress(KeyError):
            return named(NAME)
        with suppress(OSError, subprocess.CalledProcessError, KeyError):
            subprocess.run(
                ["useradd", "--system", "--no-create-home", NAME], check=True, capture_output=True
            )
            return named(NAME)
        return named("nobody")  # a system without useradd


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Two of us that made the user at the same moment would each see an id of their own, and one
    of them would not last.
    """
    folder = os.open(ACCOUNTS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def named(name: str) -> Account:
    entry = pwd.getpwnam(name)
    return Account(entry.pw_uid, entry.pw_gid)


def open_the_way(target: Path, account: Account) -> list[Path]:
    """Lets `account` pass (not list) every directory above `target`. Returns those that changed."""
    changed: list[Path] = []
    for folder in target.parents:
        mode = folder.stat()
        if mode.st_uid != account.uid and not mode.st_mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode.st_mode) | stat.S_IXOTH)
            changed.append(folder)
    return changed


def open_the_tree(root: Path) -> None:
    """Makes an installation readable by others, for one made under a strict umask."""
    for path in (root, *root.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)
