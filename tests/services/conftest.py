"""What the tests of this folder can ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.embedded import Service as Server
from tests.fixtures.processes import free_port
from tests.fixtures.servers import folder
from tests.services.certificates import Authority, Signed
from tests.services.servers import pgbouncer


@dataclass(frozen=True)
class Papers:
    """What a server and its clients show each other."""

    authority: Path
    server: Signed
    """For `localhost`, and not for 127.0.0.1."""
    client: Signed
    other_authority: Path
    """Which signed none of it."""


@pytest.fixture(scope="session")
def papers() -> Iterator[Papers]:
    with folder() as place:
        authority = Authority(place)
        yield Papers(
            authority.certificate,
            authority.sign("server", "localhost"),
            authority.sign("client"),
            Authority(place, "other").certificate,
        )


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer that speaks TLS only, and only with who shows a certificate."""

    port: int
    papers: Papers

    def url(
        self, database: str, *, host: str = "localhost", mode: str = "verify-full", **changed: str
    ) -> str:
        """A parameter that is changed to nothing is left out."""
        parameters = {
            "pooler": "transaction",
            "sslmode": mode,
            "sslrootcert": str(self.papers.authority),
            "sslcert": str(self.papers.client.certificate),
            "sslkey": str(self.papers.client.key),
        } | changed
        query = "&".join(f"{name}={value}" for name, value in parameters.items() if value)
        return f"postgresql://parley@{host}:{self.port}/{database}?{query}"


@pytest.fixture(scope="session")
def pooler(postgres: Server, papers: Papers) -> Iterator[Pooler]:
    port = free_port()
    with (
        folder() as place,
        pgbouncer(place, postgres.url, port, tls=(papers.authority, papers.server)),
    ):
        yield Pooler(port, papers)
