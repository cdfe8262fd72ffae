"""What the measurements share: where they run, and figures out of times."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from cli.embedded import start_postgres
from migrations.run import upgrade
from shared.settings import Settings


@contextmanager
def database(*extra: str) -> Generator[str]:
    """The URL of a Postgres of its own with the newest schema, thrown away afterwards."""
    with (
        TemporaryDirectory(prefix="parley-bench-") as folder,
        start_postgres(Path(folder), extra=extra) as postgres,
    ):
        upgrade(postgres.url)
        yield postgres.url


@contextmanager
def place_of_a_stack() -> Generator[Path]:
    """A folder that the account which Postgres runs as can reach."""
    with TemporaryDirectory(prefix="parley-bench-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "stack"


def settings_for(database_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr("redis://nowhere.invalid"),
        parley_model="echo",
    )


def median_and_p99(times: Sequence[float]) -> tuple[float, float]:
    """In seconds."""
    return statistics.median(times), statistics.quantiles(times, n=100)[-1]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"
