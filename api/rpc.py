"""What goes in and out at `/mcp`, as far as the document of our routes shows it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
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
