"""Every error -> application/problem+json; the table itself is the tree in `shared/errors.py`."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from api.auth import REFUSED
from api.wire import Problem
from shared.errors import (
    BodyTooLarge,
    FieldError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RequestError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from shared.log import told

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
INTERNAL = Problem(
    type="/schema#problem-internal",
    title="Something went wrong here",
    status=500,
    detail="Something went wrong here.",
    code="internal",
)
_FIELD = re.compile(r"^`([^`]*)` must|field `([^`]*)`$")
_BY_STATUS: dict[int, type[RequestError]] = {
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}

AnyRequest = Request[Any, Any, Any]


def problem_of(error: RequestError) -> Problem:
    return Problem(
        type=f"/schema#problem-{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail if error.detail.endswith(".") else f"{error.detail}.",
        code=error.code,
        errors=error.errors or msgspec.UNSET,
    )


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response[Problem]:
    return Response(
        problem, status_code=problem.status, media_type=PROBLEM_JSON, headers=headers or {}
    )


def handle_error(request: AnyRequest, error: Exception) -> Response[Problem]:
    """The one handler of the application."""
    # Where no route was found the way in was checked last, and comes first all the same.
    error = request.scope["state"].get(REFUSED, error)
    known = _known(error)
    if known is None:
        log.error("request_error", **told(error))
        return answer(INTERNAL)
    return answer(problem_of(known), _headers(known, error))


def _known(error: Exception) -> RequestError | None:
    if isinstance(error, RequestError):
        return error
    if not isinstance(error, HTTPException) or error.status_code >= 500:
        return None
    if isinstance(error, ValidationException):
        return InvalidRequest("The request is not valid.", _field_errors(error.extra))
    return _BY_STATUS.get(error.status_code, InvalidRequest)()


def _headers(known: RequestError, error: Exception) -> dict[str, str]:
    match known:
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case TooManyRequests(retry_after=seconds):
            return {"Retry-After": str(seconds)}
        case Unavailable():
            return {"Retry-After": "1"}
        case MethodNotAllowed():
            headers: dict[str, str] = getattr(error, "headers", None) or {}
            return {"Allow": headers.get("allow", "")}
        case _:
            return {}


def _field_errors(extra: Any) -> list[FieldError]:
    return [_field_error(item) for item in extra or ()]


def _field_error(item: dict[str, str]) -> FieldError:
    """The framework names the body as a whole where a field is missing or unknown."""
    message = item["message"]
    if found := _FIELD.search(message):
        return FieldError(found[1] or found[2], message)
    return FieldError(item.get("key", "").removeprefix("data."), message)
