"""What `parley up` starts, decided from its options and the environment before anything runs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from cli.data_dir import DataDir
from cli.errors import CliError
from cli.process import Child, Program
from cli.token import DEFAULT_USER

MODEL_NAMES = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_BASE_URL", "PARLEY_MODEL")
WAYS_IN = ("PARLEY_JWT_SECRET", "PARLEY_JWKS_URL", "PARLEY_SESSIONS_TABLE", "SERVICE_AUTH_TOKEN")
# One machine's only people measure and try things: the limits are there, and far away.
ROOMY = {
    "PARLEY_LIMIT_REQUESTS_PER_MINUTE": "1000000",
    "PARLEY_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
    "PARLEY_LIMIT_MESSAGES_PER_MINUTE": "100000",
    "PARLEY_LIMIT_STREAMS": "10000",
    "PARLEY_LIMIT_QUEUED_TURNS": "1000",
}
STOP_ORDER = ("api", "worker", "demo-model", "redis", "postgres")
# Shown in the command line of each: a pid file is only believed together with it.
MARKERS = {
    "api": "api.main",
    "worker": "worker.main",
    "demo-model": "cli.demo_model",
    "redis": "valkey-server",
    "postgres": "postgres",
}
DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """The options of `up`, with every open question settled."""

    host: str
    port: int
    workers: int
    data: DataDir
    environment: Mapping[str, str]
    demo_port: int | None

    @property
    def base_url(self) -> str:
        """How this machine reaches the API."""
        return reachable_url(self.host, self.port)

    @property
    def model(self) -> str:
        named = self.environment.get("PARLEY_MODEL")
        if "PARLEY_DEMO_URL" in self.environment and not named:
            return "SmolLM2 135M on this machine: a demo, not a good model"
        return named or "the default of the given provider"

    @property
    def page_user(self) -> str:
        """Whom the page at `base_url` opens for without a token; nobody if empty."""
        here = names_this_machine(urlsplit(self.base_url).hostname or "")
        return self.environment.get("PARLEY_PAGE_USER", "") if here else ""

    @property
    def production(self) -> bool:
        return self.environment.get("PARLEY_ENV") == "production"

    def way_in(self) -> dict[str, str]:
        """A secret of our own, which `parley token` finds, where none is given. Production is left
        as it is where it has another way in: each is one more door.
        """
        needed = not self.production or not any(name in self.environment for name in WAYS_IN)
        if "PARLEY_JWT_SECRET" in self.environment or not needed:
            return {}
        return {"PARLEY_JWT_SECRET": self.data.ensure_secret()}

    def child(
        self,
        name: str,
        module: str,
        *arguments: str,
        stop_seconds: float = 10,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """`environment` is what it has besides the plan's."""
        argv = (sys.executable, "-P", "-m", module, *arguments)
        given = {**self.environment, **(environment or {})}
        return Child(Program(name, argv, given, stop_seconds=stop_seconds), self.data)

    def api(self) -> Child:
        return self.child("api", "api.main")

    def worker(self, number: int) -> Child:
        """Each answers /metrics at a port of its own, if any does."""
        stop_seconds = drain_seconds(self.environment) + 5
        port = int(self.environment.get("PARLEY_METRICS_PORT") or 0)
        own = {"PARLEY_METRICS_PORT": str(port + number - 1)} if port else {}
        return self.child(
            f"worker-{number}", "worker.main", stop_seconds=stop_seconds, environment=own
        )

    def migrate(self) -> Child:
        return self.child("migrate", "migrations.run")

    def demo_model(self) -> Child:
        place = ("--host", "127.0.0.1", "--port", str(self.demo_port))
        return self.child("demo-model", "cli.demo_model", *place, stop_seconds=3)


def make_plan(
    host: str, port: int, workers: int, data: DataDir, page_user: str = DEFAULT_USER
) -> Plan:
    """Raises CliError where the port can't be had, or a number is none."""
    drain_seconds(os.environ)
    port = check_port(host, port)
    given = {name: value for name, value in os.environ.items() if value}
    named = any(name in given for name in (*MODEL_NAMES, "PARLEY_DEMO_URL"))
    demo_port = None if named else check_port("127.0.0.1", 0)
    environment = given | {"PARLEY_HOST": host, "PARLEY_PORT": str(port)}
    environment.setdefault("PARLEY_ENV", "development")
    if environment["PARLEY_ENV"] == "development":
        environment = ROOMY | {"PARLEY_PAGE_USER": page_user} | environment
    if demo_port is not None:
        environment["PARLEY_DEMO_URL"] = f"http://127.0.0.1:{demo_port}/v1"
    return Plan(host, port, workers, data, environment, demo_port)


def reachable_url(host: str, port: int) -> str:
    """How this machine reaches what listens on `host`, which may be every address."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def names_this_machine(host: str) -> bool:
    """Other addresses may be ours too, but the page opens without a token at these only."""
    with suppress(ValueError):
        return host == "localhost" or ip_address(host).is_loopback
    return False


def drain_seconds(environment: Mapping[str, str]) -> float:
    """How long workers have to end their turns. Raises CliError where that is no time."""
    given = environment.get("PARLEY_DRAIN_SECONDS") or str(DRAIN_SECONDS)
    with suppress(ValueError):
        if (seconds := float(given)) >= 0:
            return seconds
    raise CliError("PARLEY_DRAIN_SECONDS is no number of seconds; write 5, for example")


def check_port(host: str, port: int) -> int:
    """The port itself, or a free one for 0. A taken one is told before anything is started."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with closing(socket.socket(family, kind)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CliError(
            f"Port {port} on {host or 'any address'} can't be used ({reason}). "
            "Choose another with --port, or --port 0 for any free one."
        ) from None
