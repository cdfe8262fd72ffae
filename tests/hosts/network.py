"""Several hosts and the router between them, as somebody sees it who pulls the cables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts.namespace import Host, make_host

ROOT = Path(__file__).parent.parent.parent
END_SECONDS = 5.0


@dataclass(frozen=True)
class Weather:
    """Of every path between two hosts, each way: seconds, and the share of packets lost."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0


FAIR = Weather()


class Network:
    """Within the context the router runs. Rules hold once the method that makes them returns."""

    def __init__(self, names: Sequence[str]) -> None:
        self.hosts: dict[str, Host] = {}
        self._cut: set[frozenset[str]] = set()
        self._weather = FAIR
        self._router: subprocess.Popen[bytes] | None = None
        try:
            for number, name in enumerate(names, 1):
                self.hosts[name] = make_host(name, number)
        except BaseException:
            self._close_hosts()
            raise

    def __enter__(self) -> Network:
        wires = {host.address: host.wire for host in self.hosts.values()}
        self._router = subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.router", json.dumps(wires)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=list(wires.values()),
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        """The router first: what still runs on the hosts is alone from then on."""
        assert self._router is not None
        assert self._router.stdin is not None
        self._router.stdin.close()
        try:
            self._router.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._router.kill()
            self._router.wait()
        if self._router.stdout:
            self._router.stdout.close()
        self._close_hosts()

    def cut(self, one: str, others: Iterable[str] = ()) -> None:
        """Nothing passes between `one` and the others any more, whoever they are if none is named.

        No connection ends by it: packets vanish.
        """
        named = [*others] or [name for name in self.hosts if name != one]
        self._cut |= {frozenset((one, other)) for other in named}
        self._tell()

    def heal(self) -> None:
        self._cut.clear()
        self._weather = FAIR
        self._tell()

    def blow(self, weather: Weather) -> None:
        self._weather = weather
        self._tell()

    @property
    def ill(self) -> bool:
        return bool(self._cut) or self._weather != FAIR

    def counts(self) -> dict[str, int]:
        """Packets so far: passed, lost to the weather, vanished in a cut."""
        return self._tell()

    def resent(self) -> int:
        """TCP segments that any host had to send again so far."""
        return sum(host.resent() for host in self.hosts.values())

    def _tell(self) -> dict[str, int]:
        router, weather = self._router, self._weather
        assert router is not None
        assert router.stdin is not None
        assert router.stdout is not None
        cut = [[self.hosts[name].address for name in pair] for pair in self._cut]
        shape: dict[str, Any] = {
            "delay": weather.delay,
            "jitter": weather.jitter,
            "loss": weather.loss,
        }
        router.stdin.write(json.dumps({"cut": cut, **shape}).encode() + b"\n")
        router.stdin.flush()
        return json.loads(router.stdout.readline())

    def _close_hosts(self) -> None:
        for host in self.hosts.values():
            host.close()
