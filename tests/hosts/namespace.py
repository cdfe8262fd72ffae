"""A host on a network of its own: a Linux network namespace without a name, and its one wire.

The wire is a TUN device whose other end is a file descriptor of ours: each packet that the host
sends can be read there, and what is written there the host receives. Neither has a name that
others could see, so nothing is left behind: the kernel drops both with the last process that has
them open, however that one ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
OWN = "/proc/thread-self/ns/net"
TUN = "/dev/net/tun"
DEVICE = b"wire"
NETWORK = "10.213.0.0"
MASK = "255.255.0.0"
MTU = 1500

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU = 0x8913, 0x8914, 0x8922
IFF_UP = 0x1
ESTABLISHED = "01"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    space: int
    """The namespace, as a file descriptor."""
    wire: int
    """What the host sends and receives, packet by packet, as a file descriptor."""

    @contextmanager
    def inside(self) -> Generator[None]:
        """What this thread opens or starts meanwhile belongs to the host. Do not await in here."""
        before = os.open(OWN, os.O_RDONLY)
        try:
            self.move_in()
            yield
        finally:
            _setns(before)
            os.close(before)

    def move_in(self) -> None:
        """From now on, for this thread."""
        _setns(self.space)

    def resent(self) -> int:
        """TCP segments that this host had to send again."""
        with self.inside(), open("/proc/thread-self/net/snmp") as file:
            names, values = [line.split() for line in file if line.startswith("Tcp:")]
        return int(values[names.index("RetransSegs")])

    def connected_to(self, other: Host) -> int:
        """TCP connections between the two that this one takes for open."""
        address = f"{int.from_bytes(socket.inet_aton(other.address), sys.byteorder):08X}"
        with self.inside(), open("/proc/thread-self/net/tcp") as file:
            fields = [line.split() for line in file][1:]
        return sum(
            theirs.startswith(address) and state == ESTABLISHED
            for _, _, theirs, state, *_ in fields
        )

    def close(self) -> None:
        os.close(self.wire)
        os.close(self.space)


def why_not() -> str:
    """Why this machine can't have such hosts; empty if it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid():
        return "only root may make network namespaces"
    try:
        make_host("probe", 1).close()
    except OSError as error:
        return f"network namespaces or {TUN} can't be had here: {error}"
    return ""


def make_host(name: str, number: int) -> Host:
    """With 10.213.0.`number` on its wire, and a loopback. Raises OSError."""
    home = os.open(OWN, os.O_RDONLY)
    space = wire = -1
    try:
        _check(_libc.unshare(CLONE_NEWNET))
        space = os.open(OWN, os.O_RDONLY)
        wire = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        address = f"{NETWORK.rpartition('.')[0]}.{number}"
        fcntl.ioctl(wire, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN | IFF_NO_PI))
        _configure(address)
        return Host(name, address, space, wire)
    except BaseException:
        for file in (space, wire):
            with suppress(OSError):
                os.close(file)
        raise
    finally:
        _setns(home)
        os.close(home)


def _configure(address: str) -> None:
    """What `ip` would do: it need not be installed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for request, given in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, MASK)):
            own = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(given))
            fcntl.ioctl(asked, request, struct.pack("16s16s8x", DEVICE, own))
        fcntl.ioctl(asked, SIOCSIFMTU, struct.pack("16si20x", DEVICE, MTU))
        for device in (DEVICE, b"lo"):
            found = fcntl.ioctl(asked, SIOCGIFFLAGS, struct.pack("16sh22x", device, 0))
            flags = struct.unpack("16sh22x", found)[1]
            fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sh22x", device, flags | IFF_UP))


def _setns(space: int) -> None:
    _check(_libc.setns(space, CLONE_NEWNET))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
