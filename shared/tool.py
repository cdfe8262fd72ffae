"""A tool that acts on our database: its effect and its result are one transaction.

The owner comes from whoever calls it for them, a turn or a token, never from what a model wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from shared.db import Transaction
from shared.errors import ParleyError

Arguments = TypeVar("Arguments", bound=msgspec.Struct)


class ToolError(ParleyError):
    """The tool can't do it: a code, and a sentence that the model and the user both read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.result = {"error": {"code": code, "message": message}}


class Tool(msgspec.Struct, Generic[Arguments], frozen=True):
    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Transaction, str, Arguments], Awaitable[Any]]
    """Takes the transaction, the owner and the arguments; raises ToolError before any effect."""
    approval: bool = False
    """The agent runs it only once the owner has approved the very call."""


def parse_arguments(kind: type[Any], arguments: bytes | str | dict[str, Any]) -> Any:
    """From JSON, or from what was JSON. Raises ToolError."""
    try:
        if isinstance(arguments, dict):
            return msgspec.convert(arguments, kind)
        return msgspec.json.decode(arguments, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The error names fields and types; it never repeats a value.
        raise ToolError("invalid_arguments", f"The arguments are not valid: {error}") from None


@cache
def arguments_schema(kind: type[Any]) -> dict[str, Any]:
    """The arguments as a JSON schema of one level, as providers like it: one for
    all, not to be changed.
    """
    (found,), components = msgspec.json.schema_components([kind], ref_template="{name}")
    return components[found["$ref"]] if "$ref" in found else found
