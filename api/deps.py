"""The names that handlers ask for: the parts of the process, the principal, ids in paths."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from arq.connections import ArqRedis
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter

from api.auth import Principal
from api.cookies import Cookies
from api.idempotency import Once, provide_once
from api.measuring import Measuring
from api.request import JsonRequest
from api.web_files import WebFiles
from shared.db import Database
from shared.feed import Feed
from shared.jobs import Jobs
from shared.settings import Settings

Owned = NamedDependency[Principal]
Db = NamedDependency[Database]
Ring = NamedDependency[Jobs]
Live = NamedDependency[Feed]
Configured = NamedDependency[Settings]
Redis = NamedDependency[ArqRedis]
Jar = NamedDependency[Cookies]
Measured = NamedDependency[Measuring]
Web = NamedDependency[WebFiles]
Repeatable = NamedDependency[Once]
ConversationId = Annotated[UUID, PathParameter(description="The conversation.")]
MessageId = Annotated[UUID, PathParameter(description="The message.")]
TurnId = Annotated[UUID, PathParameter(description="The turn.")]


def provide_principal(request: JsonRequest) -> Principal:
    """The guard has put it there: a handler that asks for it on a public route fails."""
    principal: Principal = request.user
    return principal


def dependencies(**parts: Any) -> dict[str, Provide]:
    """Each part under its name, the principal of the request, and `once` for what may repeat."""

    def constant(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    given = {name: constant(value) for name, value in parts.items()}
    return given | {
        "principal": Provide(provide_principal, sync_to_thread=False),
        "once": Provide(provide_once, sync_to_thread=False),
    }
