"""The router between the hosts: a process that hands each packet from one wire to another.

What happens on the way stands in the rules: a path is cut, and then packets vanish without a word;
or all paths are slow and lose some. TCP does the rest in the hosts' own kernel.

`python -m tests.hosts.router {"10.213.0.1": 7, …}`: addresses and the file descriptors of their
wires. Rules come as JSON lines on the standard input, each is answered with the counts so far once
it holds. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

LARGEST_PACKET = 65536
AT_ONCE = 64
SOURCE, TARGET = slice(12, 16), slice(16, 20)
"""Where the addresses stand in a packet of IPv4."""

Pair = frozenset[bytes]


class Router:
    def __init__(self, wires: dict[bytes, int]) -> None:
        self.counts: Counter[str] = Counter()
        self._wires = wires
        self._cut: set[Pair] = set()
        self._delay = self._jitter = self._loss = 0.0
        self._due: dict[tuple[bytes, bytes], float] = {}
        self._loop = asyncio.get_running_loop()
        for wire in wires.values():
            self._loop.add_reader(wire, self._read, wire)

    def rule(self, rule: dict[str, Any]) -> None:
        """`cut`: pairs of addresses. `delay` and `jitter` in seconds one way, `loss` of 1."""
        self._cut = {frozenset(map(packed, pair)) for pair in rule["cut"]}
        self._delay, self._jitter, self._loss = rule["delay"], rule["jitter"], rule["loss"]

    def _read(self, wire: int) -> None:
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                self._route(os.read(wire, LARGEST_PACKET))

    def _route(self, packet: bytes) -> None:
        source, target = packet[SOURCE], packet[TARGET]
        wire = self._wires.get(target)
        if packet[0] >> 4 != 4 or wire is None:
            return  # IPv6's and multicast's small talk
        if frozenset((source, target)) in self._cut:
            self.counts["cut"] += 1
        elif self._loss and random.random() < self._loss:
            self.counts["lost"] += 1
        elif self._delay:
            self._send_later(source, target, partial(self._write, wire, packet))
        else:
            self._write(wire, packet)

    def _send_later(self, source: bytes, target: bytes, send: partial[None]) -> None:
        """Packets of one path keep their order, as they mostly do."""
        now = self._loop.time()
        own = now + self._delay + random.uniform(-self._jitter, self._jitter)
        due = max(own, self._due.get((source, target), now))
        self._due[source, target] = due
        self._loop.call_at(due, send)

    def _write(self, wire: int, packet: bytes) -> None:
        with suppress(OSError):  # a host that is going away
            os.write(wire, packet)
            self.counts["passed"] += 1


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


async def main() -> None:
    wires = {packed(address): wire for address, wire in json.loads(sys.argv[1]).items()}
    router = Router(wires)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        router.rule(json.loads(line))
        sys.stdout.write(json.dumps(router.counts) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
