"""Which of the model's faults pass by themselves, and how long to wait for that."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.errors import ParleyError
from shared.settings import Settings
from worker.failures import ModelRejected, failure_of

PASSING = frozenset(
    {
        "model_rate_limited",
        "model_unavailable",
        "model_timeout",
        "model_unreachable",
        "model_incomplete",
        "model_invalid",
    }
)
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 60.0


class Pause(ParleyError):
    """The attempt is over, the turn is not: another one may begin after `seconds`."""

    def __init__(self, seconds: float, cause: str, *, model_errors: int = 0) -> None:
        super().__init__()
        self.seconds = seconds
        self.cause = cause
        """The code of the model's failure, `unavailable` or `drain`."""
        self.model_errors = model_errors


def pause_for(error: BaseException, *, errors_before: int, settings: Settings) -> Pause | None:
    """None if trying again is of no use, was tried often enough, or would take too long."""
    code = failure_of(error).code
    if code not in PASSING or errors_before >= settings.parley_model_retries:
        return None
    backoff = settings.parley_model_backoff_seconds * 2**errors_before
    seconds = min(backoff, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.5)  # noqa: S311
    asked = retry_after(error)
    if asked > LONGEST_RETRY_AFTER_SECONDS:
        return None
    return Pause(max(seconds, asked), code, model_errors=1)


def retry_after(error: BaseException) -> float:
    """Seconds the provider asked for, as a number or as a date (RFC 9110); 0 if it didn't."""
    if not isinstance(error, ModelRejected):
        return 0.0
    asked = error.retry_after.strip()
    if asked.replace(".", "", 1).isdecimal():
        return float(asked)
    try:
        left = parsedate_to_datetime(asked) - datetime.now(UTC)
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, left.total_seconds())
