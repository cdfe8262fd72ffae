"""How a request is read: its body is a JSON object, and it says nothing that we don't know."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from api.auth import PUBLIC, Principal
from api.cookies import Connection
from shared.errors import FieldError, InvalidRequest, UnsupportedMediaType

JSON = "application/json"


class JsonRequest(Request[Principal, Any, Any]):
    """Whatever is wrong with a body is the client's error and not ours."""

    async def body(self) -> bytes:
        try:
            return await super().body()
        except InternalServerException:
            # The client has gone, or was cut off, before its end. Nobody hears the answer.
            raise InvalidRequest("The body ended too early.") from None

    async def json(self) -> Any:
        if self.content_type[0].lower() != JSON:
            raise UnsupportedMediaType
        try:
            value = msgspec.json.decode(await self.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise InvalidRequest("The body is not valid JSON.") from None
        if not isinstance(value, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return value  # pyright: ignore[reportUnknownVariableType]


@lru_cache
def known_parameters(handler: BaseRouteHandler) -> frozenset[str]:
    """The query parameters a handler's signature names."""
    return frozenset(
        name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    )


async def refuse_unknown_parameters(connection: Connection, handler: BaseRouteHandler) -> None:
    """A misspelt parameter must not be ignored; nor can one be given twice."""
    if handler.opt.get(PUBLIC):
        return
    known = known_parameters(handler)
    given = list(connection.query_params.keys())
    for name in given:
        if name not in known:
            raise InvalidRequest(
                "The request has a query parameter that this route doesn't know.",
                [FieldError(name, "Unknown query parameter")],
            )
        if len(connection.query_params.getall(name)) > 1:
            raise InvalidRequest(errors=[FieldError(name, "Given more than once")])
