"""The page's way in under `parley up`: nobody types a token on their own machine.

Only in development, and only where the launcher has named a user. Everything must say that it is a
browser on this machine on a page of ours; whoever else asks is as unauthorized as anywhere.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from api.address import parse
from api.cookies import Connection, Cookies
from shared.errors import Unauthorized
from shared.settings import Environment, Settings

PASSED_ON = ("forwarded", "x-forwarded", "via", "x-real-ip")
"""How the names of headers begin that somebody between us and the browser adds."""
SAME_SITE = ("", "same-origin")


def launcher_user(settings: Settings, jar: Cookies, connection: Connection) -> str:
    """Whom the launcher opens the page for. Raises Unauthorized."""
    user = settings.parley_page_user
    if not user or settings.parley_env is not Environment.development:
        raise Unauthorized
    if not (_is_near(connection) and _names_this_machine(connection)):
        raise Unauthorized
    if not jar.names_own_origin(connection):
        raise Unauthorized
    # `same-site` is another port of this machine, which is another program.
    if connection.headers.get("sec-fetch-site", "").lower() not in SAME_SITE:
        raise Unauthorized
    return user


def _is_near(connection: Connection) -> bool:
    """The socket's own peer, whatever a header says; and nobody passed it on."""
    peer = connection.client
    address = parse(peer.host) if peer else None
    forwarded = any(name.lower().startswith(PASSED_ON) for name in connection.headers)
    return address is not None and address.is_loopback and not forwarded


def _names_this_machine(connection: Connection) -> bool:
    """A name that leads here for a moment only (DNS rebinding) is none of ours."""
    hosts = connection.headers.getall("host", [])
    try:
        name = urlsplit(f"//{hosts[0]}").hostname if len(hosts) == 1 else None
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
