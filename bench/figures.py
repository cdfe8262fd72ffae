"""What the measurements share: settings of a database, and figures out of times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import SecretStr

from shared.settings import Settings


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
