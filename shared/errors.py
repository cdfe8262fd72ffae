"""Our errors, one tree. The status, code and sentence of each stand here.

ParleyError
├── SettingsError
├── LeaseLost · CancelRequested · OwnerAtLimit
└── RequestError
    ├── InvalidRequest · InvalidCursor · CursorAhead · BodyTooLarge · UnsupportedMediaType
    ├── Unauthorized · Forbidden · OriginRefused
    ├── NotFound · MethodNotAllowed
    ├── ConversationBusy · TurnNotRetryable · IdempotencyKeyReused · MessageNotRateable
    ├── NotAwaitingApproval · AlreadyDecided
    ├── TooManyRequests
    │   └── TooManyStreams · QueueFull
    ├── ChatKitNotInstalled
    └── Unavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with one field of a request."""

    field: str
    message: str


class ParleyError(Exception):
    """Root of everything raised on purpose."""


class SettingsError(ParleyError):
    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class LeaseLost(ParleyError):
    """The turn is no longer held by this worker and attempt: nothing may be written."""


class CancelRequested(ParleyError):
    """Somebody cancelled the turn: the only thing that may be written is its end."""


class OwnerAtLimit(ParleyError):
    """As many turns of the owner run as may run at once: the turn goes on waiting."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner


class RequestError(ParleyError):
    """What a client is told. `detail` is a sentence for people, `code` is stable for programs."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"
    title: ClassVar[str] = "The request is not valid"

    def __init__(self, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = list(errors)


class InvalidRequest(RequestError):
    pass


class InvalidCursor(RequestError):
    code = "invalid_cursor"
    title = "The cursor is malformed"


class CursorAhead(RequestError):
    code = "cursor_ahead"
    title = "The cursor is ahead of the conversation"


class Unauthorized(RequestError):
    status = 401
    code = "unauthorized"
    title = "A valid bearer token is required"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"
    title = "The path names another user than the token"


class OriginRefused(RequestError):
    status = 403
    code = "origin_refused"
    title = "The request must come from this origin or one that is allowed"


class NotFound(RequestError):
    status = 404
    code = "not_found"
    title = "There is no such thing here"


class MethodNotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"
    title = "The route does not take this method"


class ConversationBusy(RequestError):
    status = 409
    code = "conversation_busy"
    title = "A turn of the conversation waits or runs"


class TurnNotRetryable(RequestError):
    status = 409
    code = "turn_not_retryable"
    title = "Only a failed or cancelled turn that is the conversation's last can be retried"


class NotAwaitingApproval(RequestError):
    status = 409
    code = "not_awaiting_approval"
    title = "The tool call doesn't wait for a decision"


class AlreadyDecided(RequestError):
    status = 409
    code = "already_decided"
    title = "The other decision was made before"


class MessageNotRateable(RequestError):
    status = 409
    code = "message_not_rateable"
    title = "Only what the assistant said, and was not withdrawn, can be rated"


class BodyTooLarge(RequestError):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnsupportedMediaType(RequestError):
    status = 415
    code = "unsupported_media_type"
    title = "The body must be application/json"


class IdempotencyKeyReused(RequestError):
    status = 422
    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used for another request"


class TooManyRequests(RequestError):
    """`retry_after` is in seconds."""

    status = 429
    code = "rate_limited"
    title = "There were too many requests"

    def __init__(self, detail: str = "", *, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyStreams(TooManyRequests):
    code = "too_many_streams"
    title = "Too many event streams are open"


class QueueFull(TooManyRequests):
    code = "queue_full"
    title = "Too many turns of the conversation wait already"


class ChatKitNotInstalled(RequestError):
    status = 501
    code = "chatkit_not_installed"
    title = "The server was installed without the extra parley[chatkit]"


class Unavailable(RequestError):
    status = 503
    code = "unavailable"
    title = "The service is briefly unavailable"
