"""What DATABASE_URL and REDIS_URL may say, and how a wrong one is told."""

from __future__ import annotations

import re
import string

import pytest

from shared.addresses import postgres_address, redis_address
from shared.errors import SettingsError
from shared.settings import load_settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "dsn", "pooled"),
    [
        ("postgres://u:p%40@h/d", "postgresql://u:p%40@h/d", False),
        ("postgresql+asyncpg://u@[::1]:5/d", "postgresql://u@[::1]:5/d", False),
        ("postgresql://u@/d?host=/run/pg", "postgresql://u@/d?host=/run/pg", False),
        ("postgresql://a:1,b:2/d?pooler=transaction", "postgresql://a:1,b:2/d", True),
    ],
)
def test_a_postgres_is_named_as_libpq_does(url: str, dsn: str, pooled: bool) -> None:
    assert postgres_address(url) == (dsn, pooled)


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("h/d?foo=1&bar=2", "unknown parameter bar, foo; known are host, passfile, pooler,"),
        ("h/d?sslmode=on", "sslmode must be one of disable, allow, prefer, require, verify-ca"),
        ("h/d?pooler=session", "pooler must be one of transaction"),
        ("h/d?target_session_attrs=standby", "target_session_attrs must be one of any, primary"),
        ("h/d?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ("h/d?sslrootcert=/none", "sslrootcert can't be read (FileNotFoundError)"),
        ("h/d?sslrootcert=/dev/null", "sslrootcert can't be read (SSLError)"),
        ("h/d?sslkey=/none", "sslkey needs sslcert"),
        ("h/d?sslcert=/none", "sslcert and sslkey can't be read (FileNotFoundError)"),
        ("h/d?sslmode", "what stands behind the ? must be name=value&name=value"),
        ("h:port/d", "a host must be a name or an address, and its port a number"),
        ("h/d?host=x&port=y", "port must be a number"),
    ],
)
def test_a_wrong_postgres_is_told_without_its_password(rest: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}") as refused:
        postgres_address(f"postgresql://u:{SECRET}@{rest}")
    assert SECRET not in str(refused.value)


def test_what_sentinels_are_asked_for_is_told_apart_from_what_the_master_is() -> None:
    found = redis_address("redis+sentinel://u:p%2F@a,b:1/ma%20ster/3?sentinel_password=x")
    assert found.sentinels == [("a", 26379), ("b", 1)]
    assert (found.service, found.sentinel_login) == ("ma ster", {"password": "x"})
    assert found.url == "redis://u:p%2F@sentinel/3"
    assert found.tls == {}


def test_the_name_in_a_certificate_is_looked_at_unless_told_otherwise() -> None:
    assert redis_address("rediss://h").tls == {"ssl_check_hostname": True}
    assert redis_address("rediss://h?ssl_check_hostname=false").tls["ssl_check_hostname"] is False
    assert redis_address("rediss://h?ssl_cert_reqs=none").tls["ssl_check_hostname"] is False


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+cluster://h", "it must begin with redis://, rediss://, unix://"),
        ("redis://a,b/0", "several hosts are sentinels: redis+sentinel://host,host/name/0"),
        ("redis+sentinel://a", "sentinels need the master's name"),
        ("redis://h/zero", "what stands behind the host must be the number of a database"),
        ("redis://h?ssl_ca_certs=/none", "unknown parameter ssl_ca_certs; known are db"),
        ("rediss://h?ssl_ca_certs=/none", "ssl_ca_certs can't be read (FileNotFoundError)"),
        ("localhost:6379", "it is no URL"),
    ],
)
def test_a_wrong_redis_is_told(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        redis_address(url)


@pytest.mark.parametrize("character", [*string.punctuation, " ", "\n", "\0", "\u2100", "\udcff"])
def test_no_character_of_a_password_makes_it_be_told(character: str) -> None:
    """Written as it is, it may cut the URL anywhere."""
    for read, scheme in ((postgres_address, "postgresql"), (redis_address, "redis")):
        for password in (f"{SECRET}{character}", f"{character}{SECRET}", f"a{character}{SECRET}=1"):
            try:
                read(f"{scheme}://u:{password}@h/0")
            except ValueError as error:
                assert SECRET not in str(error)  # noqa: PT017


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{SECRET}@h/d?x=1")
    monkeypatch.setenv("REDIS_URL", "nowhere")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    first, second = refused.value.problems
    assert first.startswith("DATABASE_URL: unknown parameter x; known are")
    assert second == "REDIS_URL: it is no URL"
