"""Who speaks to us: the socket's peer, or whom a proxy that we trust speaks for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from litestar.types import HTTPScope

from shared.errors import SettingsError
from shared.settings import Settings

HEADER = b"x-forwarded-for"
IPV6_PREFIX = 64
UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address


class Clients:
    """Finds the address of a request's client."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where a trusted proxy is no address and no network."""
        named = [name.strip() for name in settings.parley_trusted_proxies.split(",")]
        try:
            self._trusted = [ip_network(name) for name in named if name]
        except ValueError:
            problem = "PARLEY_TRUSTED_PROXIES: addresses or networks, separated by commas"
            raise SettingsError([problem]) from None

    def address(self, scope: HTTPScope) -> str:
        """In the form in which it is counted; `unknown` for the peer of a Unix socket."""
        peer = scope["client"]
        said = parse(peer[0]) if peer else None
        if said is None:
            return UNKNOWN
        if not self._trusted or not self._is_trusted(said):
            return counted(said)
        return counted(self._spoken_for(said, scope["headers"]))

    def _spoken_for(self, proxy: Address, headers: Iterable[tuple[bytes, bytes]]) -> Address:
        """From the right, for what stands on the left may be the client's own invention: the
        first who isn't trusted. Where an entry can't be read, whoever wrote it is meant.
        """
        given = b",".join(value for name, value in headers if name.lower() == HEADER)
        for entry in reversed(given.decode("latin-1").split(",")):
            found = parse(entry)
            if found is None:
                return proxy
            if not self._is_trusted(found):
                return found
            proxy = found
        return proxy

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse(entry: str) -> Address | None:
    """`1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]`, `[::1]:567`; an IPv4 address in IPv6 is IPv4."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def counted(address: Address) -> str:
    """One client has a whole network of IPv6 addresses."""
    if isinstance(address, IPv4Address):
        return str(address)
    bits = int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
    return str(IPv6Network((bits, IPV6_PREFIX)))
