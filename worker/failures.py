"""What went wrong in a turn, in words for its user; the provider's own words stay out of it."""

from __future__ import annotations

import asyncio

from agents import MaxTurnsExceeded, ModelRefusalError

from shared.errors import ParleyError
from shared.events import TurnError


class TurnFailed(ParleyError):
    """Ends the turn as `failed`."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(code)
        self.error = TurnError(code, message, retryable)


class ModelIncomplete(TurnFailed):
    """The stream ended before the model said that it was done."""

    def __init__(self) -> None:
        super().__init__(
            "model_incomplete", "The model's answer broke off. Please try again.", retryable=True
        )


class ModelRefused(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "model_refused", "The model declined to answer this message.", retryable=False
        )


class ModelEmpty(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "model_empty", "The model gave no answer. Please try again.", retryable=True
        )


class ModelTimeout(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "model_timeout", "The model took too long to answer. Please try again.", retryable=True
        )


class ModelUnreachable(TurnFailed):
    def __init__(self) -> None:
        super().__init__("model_unreachable", "The model could not be reached.", retryable=True)


class ModelInvalid(TurnFailed):
    """It can't be parsed: a page of HTML, a broken line, an error as an event."""

    def __init__(self) -> None:
        super().__init__(
            "model_invalid", "The model's answer could not be understood.", retryable=True
        )


class ModelRejected(TurnFailed):
    """The provider answered with something else than success."""

    def __init__(self, status: int, retry_after: str = "") -> None:
        error = _of_status(status)
        super().__init__(error.code, error.message, retryable=error.retryable)
        self.status = status
        self.retry_after = retry_after
        """As the provider wrote it; empty if it didn't."""


class TooManyModelCalls(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "too_many_model_calls",
            "The answer needed too many steps and was stopped.",
            retryable=False,
        )


class AnswerTooLong(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "answer_too_long", "The model's answer grew too long and was cut.", retryable=False
        )


class TurnTimeout(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "turn_timeout", "The answer took too long and was stopped.", retryable=True
        )


class AttemptsExhausted(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "attempts_exhausted",
            "The answer was interrupted several times and was given up.",
            retryable=True,
        )


class TokenBudgetExhausted(TurnFailed):
    def __init__(self) -> None:
        super().__init__(
            "token_budget_exhausted",
            "The token budget for today is used up. It is renewed at midnight UTC.",
            retryable=False,
        )


def failure_of(error: BaseException) -> TurnError:
    """Sorts whatever a model or the Agents SDK raises; unknown errors are ours."""
    match error:
        case TurnFailed(error=known):
            return known
        case asyncio.TimeoutError():
            return ModelTimeout().error
        case ModelRefusalError():
            return ModelRefused().error
        case MaxTurnsExceeded():
            return TooManyModelCalls().error
        case _:
            return TurnError("internal", "Something went wrong on our side.", True)


def _of_status(status: int) -> TurnError:
    match status:
        case 401 | 403:
            return TurnError(
                "model_unauthorized", "The model provider refused this service's key.", False
            )
        case 408 | 504:
            return ModelTimeout().error
        case 429:
            return TurnError(
                "model_rate_limited", "The model is busy. Please try again in a moment.", True
            )
        case _ if status >= 500:
            return TurnError(
                "model_unavailable", "The model is unavailable. Please try again.", True
            )
        case _:
            return TurnError("model_rejected", "The model provider rejected the request.", False)
