"""Whom a request is counted for, whatever stands in its headers."""

from __future__ import annotations

from typing import Any, cast

import pytest
from litestar.types import HTTPScope

from api.address import Clients
from shared.errors import SettingsError
from tests.fixtures.settings import make_settings

PROXIES = "10.0.0.0/8, 2001:db8:1::/48,192.0.2.1"


def address(peer: str | None, *forwarded: str, trusted: str = PROXIES) -> str:
    settings = make_settings("postgresql://x/x", "redis://x", parley_trusted_proxies=trusted)
    headers = [(b"X-Forwarded-For", value.encode("latin-1")) for value in forwarded]
    scope: dict[str, Any] = {"client": (peer, 1) if peer else None, "headers": headers}
    return Clients(settings).address(cast("HTTPScope", scope))


def test_nobody_is_believed_where_nobody_is_trusted() -> None:
    assert address("10.0.0.1", "198.51.100.7", trusted="") == "10.0.0.1"


def test_a_peer_that_is_not_trusted_is_not_believed() -> None:
    assert address("203.0.113.9", "198.51.100.7") == "203.0.113.9"


def test_a_proxy_says_whom_it_speaks_for() -> None:
    assert address("10.0.0.1", "198.51.100.7") == "198.51.100.7"
    assert address("192.0.2.1", "198.51.100.7:4711") == "198.51.100.7"
    assert address("10.0.0.1", "[2001:db8:2::1]:443") == "2001:db8:2::/64"


def test_what_the_client_wrote_itself_stands_on_the_left_and_is_not_believed() -> None:
    assert address("10.0.0.1", "1.1.1.1, 198.51.100.7") == "198.51.100.7"
    assert address("10.0.0.1", "10.9.9.9, 198.51.100.7, 10.0.0.2") == "198.51.100.7"
    assert address("10.0.0.1", "1.1.1.1", "198.51.100.7, 10.0.0.2") == "198.51.100.7"
    assert address("10.0.0.1", "1.1.1.1, 198.51.100.7, 192.0.2.1") == "198.51.100.7"


@pytest.mark.parametrize(
    "entry", ["", " ", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "é", "[::1", "::g", "1.2.3.4/8"]
)
def test_an_entry_that_cannot_be_read_means_the_proxy_that_wrote_it(entry: str) -> None:
    found = address("10.0.0.1", f"198.51.100.7, {entry}")
    assert found == ("::/64" if entry == "[::1" else "10.0.0.1")


def test_where_everybody_is_a_proxy_the_first_of_them_is_meant() -> None:
    assert address("10.0.0.1") == "10.0.0.1"
    assert address("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


def test_one_client_is_one_however_its_address_is_written() -> None:
    assert address("::ffff:198.51.100.7") == "198.51.100.7"
    assert address("2001:db8:2::1") == address("2001:db8:2::ffff:1") == "2001:db8:2::/64"
    assert address("::ffff:10.0.0.1", "198.51.100.7") == "198.51.100.7"
    assert address(None, "198.51.100.7") == "unknown"


@pytest.mark.parametrize("trusted", ["proxy.example", "10.0.0.0/40", "10.0.0.1/8", "*"])
def test_a_proxy_that_is_no_network_is_refused_at_the_start(trusted: str) -> None:
    with pytest.raises(SettingsError, match="PARLEY_TRUSTED_PROXIES"):
        address("10.0.0.1", trusted=trusted)
