"""What goes in and out at `/mcp`, as far as the document of our routes shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation
from msgspec import UNSET, UnsetType


class RpcRequest(msgspec.Struct, frozen=True):
    """A request of JSON-RPC, or a notification if it has no `id`."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET


class RpcAnswer(msgspec.Struct, frozen=True):
    """It has a `result` or an `error`."""

    jsonrpc: Literal["2.0"]
    id: int | str | None
    result: dict[str, Any] | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


def error(code: int, message: str, *, id: int | None = None) -> RpcAnswer:
    return RpcAnswer("2.0", id, error={"code": code, "message": message})


WRONG_VERSION = error(-32022, "Unsupported protocol version", id=1)


@dataclass
class RpcOperation(Operation):
    """A 400 is ours, a problem, or the SDK's, an answer. The framework describes one of the two."""

    def __post_init__(self) -> None:
        answers = self.responses or {}
        ok, bad = answers["200"], answers["400"]
        assert isinstance(ok, OpenAPIResponse)
        assert isinstance(bad, OpenAPIResponse)
        assert ok.content is not None
        assert bad.content is not None
        for media_type, shape in ok.content.items():
            bad.content[media_type] = OpenAPIMediaType(
                schema=shape.schema,
                examples={"version": Example(summary="version", value=WRONG_VERSION)},
            )
