"""The service of `parley verify`, each of its parts on a host of its own.

Whoever judges it looks at the rows through Postgres' unix socket, which no cut cable touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from cli.data_dir import DataDir
from cli.postgres import DATABASE, ROLE, Postgres
from cli.process import Program
from cli.valkey import Valkey
from cli.verify.part import Life, Part, Ready
from cli.verify.stack import Stack
from cli.verify.storm import LIMITS
from cli.verify.takeover import Limits, Line, read_log
from shared.settings import Settings
from tests.hosts.namespace import Host
from tests.hosts.network import Network

CLIENT = "client"
PORT = 8000
POSTGRES_PORT, REDIS_PORT = 5432, 6379
ANYBODY = "local all all trust\nhost all all all trust\n"


def names(*, workers: int, apis: int) -> list[str]:
    """Of the hosts: one for each part, and the one the clients are on."""
    own = [f"api-{number}" for number in range(1, apis + 1)]
    own += [f"worker-{number}" for number in range(1, workers + 1)]
    return [CLIENT, "postgres", "redis", "model", *own]


class HostPart(Part):
    """A part that starts on its host: whoever starts it goes there for a moment."""

    def on(self, host: Host) -> HostPart:
        self._host = host
        return self

    def begin(self) -> Life:
        with self._host.inside():
            return super().begin()

    def lines(self) -> list[Line]:
        """What it has logged since its last start."""
        return read_log(self.life.log.read_text(errors="replace"))[0]

    def said(self, event: str, **fields: object) -> list[Line]:
        return [
            line
            for line in self.lines()
            if line.event == event
            and all(line.fields.get(name) == value for name, value in fields.items())
        ]


class Service(Stack):
    """Talk to it from the host of the clients: move in there first."""

    def __init__(
        self,
        root: Path,
        network: Network,
        *,
        workers: int,
        apis: int,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.network = network
        self.limits = limits(settings or {})
        super().__init__(root, workers=workers, apis=apis, settings=settings)

    def part(self, program: Program, ready: Ready) -> HostPart:
        part = HostPart(program, self.data, ready=ready, complaints=self.complaints)
        return part.on(self.network.hosts[program.name])

    @property
    def own_workers(self) -> list[HostPart]:
        return [part for part in self.workers if isinstance(part, HostPart)]

    def settings(self) -> Settings:
        return super().settings().model_copy(update={"database_url": SecretStr(self._socket_url)})

    def _place(self, name: str) -> str:
        return f"{self.network.hosts[name].address}:{PORT}"

    def _stores(self) -> tuple[Postgres, Valkey]:
        hosts = self.network.hosts
        postgres = HostPostgres(self.data, hosts["postgres"].address)
        self._socket_url = postgres.socket_url
        return postgres, HostValkey(self.data, hosts["redis"].address)


def limits(settings: Mapping[str, str]) -> Limits:
    """How long a takeover may take, as it is promised."""
    return Limits(
        lease=float(settings.get("PARLEY_LEASE_SECONDS", LIMITS.lease)),
        sweep=float(settings.get("PARLEY_SWEEP_SECONDS", LIMITS.sweep)),
    )


class HostPostgres(Postgres):
    """It listens on its host's wire, and lets everybody in who is on it."""

    def __init__(self, data: DataDir, address: str) -> None:
        super().__init__(data)
        self.socket_url = super().url
        self._address = address
        self._rules = self.cluster / "hosts.conf"
        self.extra = (
            *("-c", f"listen_addresses={address}", "-c", f"port={POSTGRES_PORT}"),
            *("-c", f"hba_file={self._rules}"),
        )

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@{self._address}:{POSTGRES_PORT}/{DATABASE}"

    def program(self) -> Program:
        program = super().program()
        self._rules.write_text(ANYBODY)
        self._rules.chmod(0o644)
        return program


class HostValkey(Valkey):
    """The same; the unix socket stays."""

    def __init__(self, data: DataDir, address: str) -> None:
        own = ("--port", str(REDIS_PORT), "--bind", address, "--protected-mode", "no")
        super().__init__(data, own)
        self._address = address

    @property
    def url(self) -> str:
        return f"redis://{self._address}:{REDIS_PORT}"
