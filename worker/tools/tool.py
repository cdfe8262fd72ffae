"""What a tool is, and how the Agents SDK is shown one.

A tool acts on our database in a transaction it is given, so that its effect and its result are
committed together: a call without a result had no effect. A tool that acts elsewhere can't
promise that. The owner comes from the turn, never from what the model wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog
from agents import FunctionTool
from agents.tool_context import ToolContext

from shared.db import Transaction, available
from shared.errors import CancelRequested, LeaseLost, ParleyError, RequestError, Unavailable
from shared.events import ToolCall
from shared.text import sanitise
from worker.steps import Step, reached

log = structlog.get_logger()

MAX_ARGUMENT_CHARS = 100_000
MAX_RESULT_BYTES = 200_000
LOCKED_SECONDS = 4.0
"""A tool that acts on our database holds the conversation's lock meanwhile."""
STOOD_STILL_SECONDS = 1.0
"""A time limit that is noticed so late speaks of this process and not of the tool."""

Arguments = TypeVar("Arguments", bound=msgspec.Struct)


class ToolError(ParleyError):
    """The tool can't do it: a code, and a sentence that the model and the user both read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.result = {"error": {"code": code, "message": message}}


class ToolTimeout(ToolError):
    def __init__(self) -> None:
        super().__init__("tool_timeout", "The tool took too long and was stopped.")


class Tool(msgspec.Struct, Generic[Arguments], frozen=True):
    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Transaction, str, Arguments], Awaitable[Any]]
    """Takes the transaction, the owner and the arguments; raises ToolError before any effect."""


class OutsideTool(msgspec.Struct, Generic[Arguments], frozen=True):
    """Acts on something that isn't our database."""

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[str, str, Arguments], Awaitable[Any]]
    """Takes the owner, a key that is the same when the call is repeated, and the arguments."""
    idempotent: bool = False
    """Doing it twice with one key does it once: a call of unknown outcome is repeated."""


AnyTool = Tool[Any] | OutsideTool[Any]
OUTCOME_UNKNOWN = {
    "error": {
        "code": "outcome_unknown",
        "message": "The call was begun and interrupted; whether it had an effect is not known.",
    }
}


class CallRecorder(Protocol):
    """The part of the turn's recorder that a tool call needs."""

    async def call_done(
        self, call_id: str, effect: Callable[[Transaction], Awaitable[Any]]
    ) -> Any: ...

    async def call_failed(self, call_id: str, result: Any) -> None: ...


class Toolbox:
    """The tools of one turn: bound to its owner and its recorder."""

    def __init__(
        self,
        tools: Sequence[AnyTool],
        *,
        owner: str,
        recorder: CallRecorder,
        timeout: float,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._owner = owner
        self._recorder = recorder
        self._timeout = timeout
        self.broken: Exception | None = None
        """The lease or the database was lost in the middle of a call: nothing of it was written."""

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def sdk_tools(self) -> list[FunctionTool]:
        return [self._sdk_tool(tool) for tool in self._tools.values()]

    async def call(self, call_id: str, name: str, arguments: bytes | str) -> Any:
        """Runs a call and commits its result; what goes wrong in the tool is a result too."""
        try:
            return await self._call(call_id, name, arguments)
        except (LeaseLost, CancelRequested, RequestError) as error:
            self.broken = self.broken or error
            raise

    async def resume(self, call: ToolCall) -> None:
        """A call that an earlier attempt committed and that has no result.

        On our database it had no effect and is run now. Elsewhere it may have had one.
        """
        tool = self._tools.get(call.tool_name)
        if isinstance(tool, OutsideTool) and not tool.idempotent:
            await self._recorder.call_failed(call.id, OUTCOME_UNKNOWN)
            return
        await self.call(call.id, call.tool_name, msgspec.json.encode(call.arguments))

    async def _call(self, call_id: str, name: str, arguments: bytes | str) -> Any:
        try:
            tool = self._tools.get(name)
            if tool is None:
                raise ToolError("unknown_tool", "There is no such tool.")
            wanted = parse(tool, arguments)
            if isinstance(tool, OutsideTool):
                result = await self._limited(partial(tool.run, self._owner, call_id, wanted))
                return await self._recorder.call_done(call_id, partial(_known, result))

            effect = partial(self._effect, tool, wanted)
            return await self._recorder.call_done(call_id, effect)
        except ToolError as error:
            await self._recorder.call_failed(call_id, error.result)
            return error.result

    async def _effect(self, tool: Tool[Any], wanted: Any, tx: Transaction) -> Any:
        """The time limit ends before the commit: its outcome must be known.

        Raises Unavailable where this process stood still meanwhile: nothing has happened, and the
        call is made again.
        """
        limit = min(self._timeout, LOCKED_SECONDS)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            work = partial(_on_database, tool, tx, self._owner, wanted)
            return await self._limited(work, seconds=limit)
        except ToolTimeout:
            if clock() - began > limit + STOOD_STILL_SECONDS:
                raise Unavailable from None
            raise

    async def _limited(
        self, work: Callable[[], Awaitable[Any]], *, seconds: float | None = None
    ) -> Any:
        """Within the time limit. A tool that breaks is the tool's fault and not the turn's."""
        await reached(Step.TOOL_STARTED)
        try:
            async with asyncio.timeout(seconds or self._timeout):
                result = await work()
        except ParleyError:
            raise
        except TimeoutError:
            raise ToolTimeout from None
        except Exception as error:
            log.warning("tool_failed", error=type(error).__name__)
            raise ToolError("tool_failed", "The tool failed.") from None
        if len(msgspec.json.encode(result)) > MAX_RESULT_BYTES:
            raise ToolError("result_too_large", "The tool's result was too large.")
        return result

    def _sdk_tool(self, tool: AnyTool) -> FunctionTool:
        async def invoke(context: ToolContext[Any], arguments: str) -> str:
            result = await self.call(context.tool_call_id, tool.name, arguments)
            return msgspec.json.encode(result).decode()

        return FunctionTool(
            name=tool.name,
            description=tool.description,
            params_json_schema=schema(tool),
            on_invoke_tool=invoke,
            strict_json_schema=False,
        )


async def _on_database(tool: Tool[Any], tx: Transaction, owner: str, wanted: Any) -> Any:
    """A database that goes away is no fault of the tool's, and no result: raises Unavailable."""
    async with available():
        return await tool.run(tx, owner, wanted)


async def _known(result: Any, _: Transaction) -> Any:
    """The effect of an outside tool on our database: its result is all there is."""
    return result


def parse(tool: AnyTool, arguments: bytes | str) -> Any:
    try:
        return msgspec.json.decode(arguments, type=tool.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The error names fields and types; it never repeats a value.
        raise ToolError("invalid_arguments", f"The arguments are not valid: {error}") from None


def schema(tool: AnyTool) -> dict[str, Any]:
    """The arguments as a JSON schema of one level, as providers like it."""
    (found,), components = msgspec.json.schema_components([tool.arguments], ref_template="{name}")
    return components[found["$ref"]] if "$ref" in found else found


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments a model wrote, fit to be stored; what isn't an object is kept as text."""
    clean = sanitise(text)[:MAX_ARGUMENT_CHARS]
    try:
        value = msgspec.json.decode(clean or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"invalid": clean}
    return clean_value(value) if isinstance(value, dict) else {"invalid": clean}


def clean_value(value: Any) -> Any:
    """Escapes inside JSON can hide a NUL or a lone surrogate from a look at the text."""
    match value:
        case str():
            return sanitise(value)
        case list():
            return [clean_value(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {sanitise(str(k)): clean_value(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return value
