"""A Postgres that speaks TLS itself, as the embedded one doesn't: `make services` runs this."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cli.account import postgres_account
from cli.embedded import start_postgres
from migrations.run import upgrade
from shared.connection import EVERYONE, LOGIN
from shared.db import Database
from shared.errors import Unavailable
from tests.fixtures import parts
from tests.fixtures.processes import free_port
from tests.fixtures.servers import FAST, folder
from tests.fixtures.settings import lonely_settings
from tests.services.conftest import Papers

pytestmark = pytest.mark.anyio

WHO_MAY = "local all all trust\nhostssl all all all trust clientcert=verify-ca\n"


@dataclass(frozen=True)
class Encrypted:
    port: int
    papers: Papers

    def url(self, host: str = "localhost", **changed: str) -> str:
        return self.papers.url(f"{host}:{self.port}/parley", **changed)


@pytest.fixture(scope="module")
def encrypted(papers: Papers) -> Iterator[Encrypted]:
    port, account = free_port(), postgres_account()
    with folder() as data:
        (rules := data / "pg_hba.conf").write_text(WHO_MAY)
        key, certificate = papers.server.key, papers.server.certificate
        key.chmod(0o600)
        for path in (rules, key, certificate, papers.authority, papers.authority.parent):
            if account is not None:
                os.chown(path, account.uid, account.gid)
        tls = (
            *("-c", "ssl=on", "-c", f"ssl_ca_file={papers.authority}"),
            *("-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}"),
            *("-c", f"hba_file={rules}"),
            *("-c", "listen_addresses=localhost", "-c", f"port={port}"),
        )
        with start_postgres(data, extra=(*FAST, *tls)):
            yield Encrypted(port, papers)


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Database]:
    settings = lonely_settings().model_copy(update={"database_url": SecretStr(url)})
    async with parts.opened(settings) as db:
        yield db


def test_migrations_run_through_tls(encrypted: Encrypted) -> None:
    upgrade(encrypted.url())
    upgrade(encrypted.url(sslmode="require", sslrootcert=""))


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
async def test_the_connection_is_encrypted(encrypted: Encrypted, mode: str) -> None:
    async with opened(encrypted.url(sslmode=mode)) as db, db.snapshot(LOGIN) as tx:
        asked = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await tx.scalar(asked) is True


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "127.0.0.1"},
        {"sslmode": "verify-ca", "sslrootcert": "other"},
        {"sslcert": "", "sslkey": ""},
        {"sslmode": "disable"},
    ],
)
async def test_who_is_not_whom_they_should_be_is_refused(
    encrypted: Encrypted, changed: dict[str, str]
) -> None:
    if "other" in changed.values():
        changed = changed | {"sslrootcert": str(encrypted.papers.other_authority)}
    async with opened(encrypted.url(**changed)) as db:
        with pytest.raises((Unavailable, DBAPIError)):
            async with db.snapshot(EVERYONE):
                pass


async def test_of_several_hosts_the_one_that_writes_is_taken(encrypted: Encrypted) -> None:
    nobody = free_port()
    url = encrypted.url(f"localhost:{nobody},localhost", target_session_attrs="read-write")
    async with opened(url) as db, db.transaction(EVERYONE) as tx:
        assert await tx.scalar(text("SELECT pg_is_in_recovery()")) is False
