"""The data directory: where `parley up` keeps its database, logs, pid files and secret."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cli.errors import DataDirError

DEFAULT = Path(".parley")
SOCKET_PATH_MAX = 103  # the shortest limit among the systems we run on (macOS); Linux has 107


class DataDir:
    """Paths below one directory. The constructor touches nothing; `create` does."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.run = self.root / "run"
        self.logs = self.root / "logs"
        self.secret_file = self.root / "secret"
        self.url_file = self.run / "url"

    def create(self) -> DataDir:
        try:
            for folder in (self.root, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataDirError(f"{self.root} can't be used: {error.strerror or error}") from None
        return self

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def secret(self) -> str | None:
        """The token secret made by an earlier `up`, if there is one."""
        try:
            return self.secret_file.read_text().strip() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataDirError(f"{self.secret_file} can't be read: {error.strerror}") from None

    def ensure_secret(self) -> str:
        """Made once, so that a token outlives a restart."""
        if found := self.secret():
            return found
        made = secrets.token_urlsafe(48)
        write_private(self.secret_file, made + "\n")
        return made

    def socket_folder(self, wanted: Path, longest_name: str, owner: int) -> Path:
        """`wanted`, or a short directory of ours where its path is too long for a unix socket."""
        if len(os.fsencode(wanted / longest_name)) <= SOCKET_PATH_MAX:
            return wanted
        digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
        name = f"parley-{os.geteuid()}-{digest}"
        for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - ownership is checked
            if len(os.fsencode(base / name / longest_name)) <= SOCKET_PATH_MAX:
                return private_folder(base / name, owner)
        raise DataDirError(f"{wanted} is too long a path for a unix socket")

    @contextmanager
    def lock(self) -> Generator[None]:
        """Held by the one `up` of this directory; freed by the system however that one ends."""
        with (self.run / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                pid = file.read().strip() or "?"
                raise DataDirError(
                    f"Parley is already running on {self.root} (pid {pid})"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def write_private(path: Path, text: str) -> None:
    """Appears at once and whole, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def private_folder(path: Path, owner: int) -> Path:
    """A directory in a shared place that nobody else can have prepared for us."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner):
        raise DataDirError(f"{path} belongs to somebody else; remove it or choose a shorter path")
    path.chmod(0o700)
    if found.st_uid != owner:
        os.chown(path, owner, -1)
    return path
