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

    def url(self, address: str, **changed: str) -> str:
        """For a client who shows its own and believes no other. What is changed to nothing is left
        out.
        """
        parameters = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.authority),
            "sslcert": str(self.client.certificate),
            "sslkey": str(self.client.key),
        } | changed
        query = "&".join(f"{name}={value}" for name, value in parameters.items() if value)
        return f"postgresql://parley@{address}?{query}"


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

    def url(self, database: str, *, host: str = "localhost", **changed: str) -> str:
        address = f"{host}:{self.port}/{database}"
        return self.papers.url(address, **({"pooler": "transaction"} | changed))


@pytest.fixture(scope="session")
def pooler(postgres: Server, papers: Papers) -> Iterator[Pooler]:
    port = free_port()
    with (
        folder() as place,
        pgbouncer(place, postgres.url, port, tls=(papers.authority, papers.server)),
    ):
        yield Pooler(port, papers)
