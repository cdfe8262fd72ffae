"""Who asks, with the parts of the process that answer; and how what they name is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from api.auth import Principal
from api.idempotency import Once
from shared.db import Database
from shared.errors import FieldError, InvalidRequest, NotFound
from shared.feed import Feed
from shared.jobs import Jobs
from shared.settings import Settings

T = TypeVar("T", bound=msgspec.Struct)

UUID_CHARS = 36


@dataclass(frozen=True)
class Visitor:
    principal: Principal
    db: Database
    feed: Feed
    jobs: Jobs
    settings: Settings
    once: Once
    keyed: bool
    """The request has an `Idempotency-Key`."""

    @property
    def owner(self) -> str:
        return self.principal.owner


def id_of(text: str) -> UUID:
    """What is no id of ours is not there."""
    found = as_id(text)
    if found is None:
        raise NotFound
    return found


def as_id(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == UUID_CHARS else None
    except ValueError:
        return None


def refused(field: str, why: str) -> InvalidRequest:
    return InvalidRequest("The request is not valid.", [FieldError(field, why)])


def fitting(kind: type[T], field: str, values: dict[str, Any]) -> T:
    """By the rules of our own routes: one text is fit for all of them or for none."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise refused(field, str(error)) from None
