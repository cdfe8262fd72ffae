"""Where Postgres and Redis are: what DATABASE_URL and REDIS_URL may say, checked before use.

A check raises ValueError with a sentence that shows no part of a password, also where the URL is
cut in the wrong place because a character of the password was not percent-encoded.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Set
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

# What asyncpg takes from a URL, as libpq does, less what makes no sense here. Whatever else stands
# there it would hand to Postgres as a setting of the session.
POSTGRES_TLS = {
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl"),
    *("sslnegotiation", "ssl_min_protocol_version"),
}
POSTGRES_KNOWN = {"host", "port", "passfile", "target_session_attrs", "pooler", *POSTGRES_TLS}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
POSTGRES_CHOICES = {
    "sslmode": SSL_MODES,
    # We write: a server that only reads is of no use.
    "target_session_attrs": ("any", "primary", "read-write"),
    "pooler": ("transaction",),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
}

REDIS_TLS = {
    *("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    *("ssl_cert_reqs", "ssl_check_hostname"),
}
SENTINEL_LOGIN = {"sentinel_username", "sentinel_password"}
REDIS_CHOICES = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false"),
}
SENTINEL_PORT = 26379

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d{1,5}))?")


class PostgresAddress(NamedTuple):
    dsn: str
    """As asyncpg takes it."""
    pooled: bool
    """A pooler gives out a connection for one transaction only, then to somebody else."""


class RedisAddress(NamedTuple):
    url: str
    """As redis-py takes it; with sentinels it stands for the login, the database and TLS only."""
    tls: dict[str, str | bool]
    """What redis-py wants to know for TLS; empty without."""
    sentinels: list[tuple[str, int]]
    service: str
    """What the sentinels call the master."""
    sentinel_login: dict[str, str]


def postgres_address(url: str) -> PostgresAddress:
    """What DATABASE_URL says. Raises ValueError."""
    parts = _split(url)
    if parts.scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise ValueError("it must begin with postgresql://")
    _hosts(parts)
    given = _parameters(parts, POSTGRES_KNOWN, POSTGRES_CHOICES)
    if not re.fullmatch(r"[\d,]*", given.get("port", "")):
        raise ValueError("port must be a number")
    if given.get("sslmode", "").startswith("verify") and "sslrootcert" not in given:
        raise ValueError(f"sslmode={given['sslmode']} needs sslrootcert")
    _load(given, "sslrootcert", "sslcert", "sslkey", password=given.get("sslpassword", ""))
    pooled = given.pop("pooler", None) is not None
    query = urlencode(given, quote_via=quote, safe="/")
    return PostgresAddress(
        urlunsplit(parts._replace(scheme="postgresql", query=query)), pooled=pooled
    )


def redis_address(url: str) -> RedisAddress:
    """What REDIS_URL says. Raises ValueError."""
    parts = _split(url)
    kind, _, by_sentinel = parts.scheme.partition("+")
    if kind not in {"redis", "rediss", "unix"} or by_sentinel not in {"", "sentinel"}:
        raise ValueError(
            "it must begin with redis://, rediss://, unix://, redis+sentinel:// or "
            "rediss+sentinel://"
        )
    secure = kind == "rediss"
    known = {"db", *(REDIS_TLS if secure else ()), *(SENTINEL_LOGIN if by_sentinel else ())}
    given = _parameters(parts, known, REDIS_CHOICES)
    if not re.fullmatch(r"\d*", given.get("db", "")):
        raise ValueError("db must be a number")
    _load(given, "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    login = {n.removeprefix("sentinel_"): v for n, v in given.items() if n in SENTINEL_LOGIN}
    hosts, service, path = _hosts(parts) if kind != "unix" else [], "", parts.path
    if by_sentinel:
        service, path = _service(path)
    elif len(hosts) > 1:
        raise ValueError("several hosts are sentinels: redis+sentinel://host,host/name/0")
    elif kind != "unix" and not re.fullmatch(r"/?\d*", path):
        raise ValueError("what stands behind the host must be the number of a database")
    _, at, _ = parts.netloc.rpartition("@")
    user = parts.netloc.rpartition("@")[0] + at
    netloc = f"{user}sentinel" if by_sentinel else parts.netloc
    query = f"db={given['db']}" if "db" in given else ""
    return RedisAddress(
        urlunsplit((kind, netloc, path, query, "")),
        _redis_tls(given) if secure else {},
        [(host, port or SENTINEL_PORT) for host, port in hosts] if by_sentinel else [],
        service,
        login,
    )


def _service(path: str) -> tuple[str, str]:
    """The sentinels' name for the master, and the path of the database."""
    found = re.fullmatch(r"/([^/]+)(/\d*)?", path)
    if not found:
        raise ValueError("sentinels need the master's name: redis+sentinel://host,host/name/0")
    return unquote(found[1]), found[2] or ""


def _redis_tls(given: Mapping[str, str]) -> dict[str, str | bool]:
    """Unlike redis-py we look at the name in the certificate unless told otherwise."""
    checked = given.get("ssl_check_hostname", "true") == "true"
    files = {name: given[name] for name in sorted(REDIS_TLS) if name in given}
    return {**files, "ssl_check_hostname": checked and given.get("ssl_cert_reqs") != "none"}


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # which would show the part with the password
        raise ValueError("it is no URL") from None
    if not parts.scheme or "://" not in url:
        raise ValueError("it is no URL")
    # In a URL these characters end the part in which a password stands.
    if "@" in parts.path + parts.query or parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError("characters of the password such as @ : / ? # must be percent-encoded")
    return parts


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Each with its port, 0 where none is named."""
    found: list[tuple[str, int]] = []
    for spec in parts.netloc.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(spec)
        if not match:
            raise ValueError("a host must be a name or an address, and its port a number")
        found.append((unquote(match[1]).strip("[]"), int(match[2] or 0)))
    return found


def _parameters(
    parts: SplitResult, known: Set[str], choices: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    try:
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("what stands behind the ? must be name=value&name=value") from None
    if unknown := sorted(given.keys() - known):
        names = ", ".join(unknown)
        raise ValueError(f"unknown parameter {names}; known are {', '.join(sorted(known))}")
    for name, allowed in choices.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}")
    return given


def _load(
    given: Mapping[str, str], root: str, certificate: str, key: str, password: str = ""
) -> None:
    """The files of TLS are read once now, so that a wrong one is told by its parameter's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if (key in given) and certificate not in given:
        raise ValueError(f"{key} needs {certificate}")
    try:
        if root in given:
            context.load_verify_locations(given[root])
    except OSError as error:
        raise ValueError(f"{root} can't be read ({type(error).__name__})") from None
    try:
        if certificate in given:
            context.load_cert_chain(given[certificate], given.get(key), lambda: password)
    except OSError as error:
        raise ValueError(
            f"{certificate} and {key} can't be read ({type(error).__name__})"
        ) from None
