"""The tools of a turn, and how the Agents SDK is shown them.

A tool that acts on our database does so in a transaction it is given, so that its effect and its
result are committed together: a call without a result had no effect. A tool that acts elsewhere
can't promise that. The owner comes from the turn, never from what the model wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog
from agents import FunctionTool
from agents.tool_context import ToolContext

from shared.db import Transaction, available
from shared.errors import CancelRequested, LeaseLost, ParleyError, RequestError, Unavailable
from shared.events import ToolCall
from shared.store.messages import NewCall
from shared.text import sanitise
from shared.tool import Tool, ToolError, arguments_schema, parse_arguments
from worker.steps import Step, reached
from worker.tally import Tally

log = structlog.get_logger()

MAX_ARGUMENT_CHARS = 100_000
MAX_RESULT_BYTES = 200_000
UNKNOWN = "unknown"
UNREAD = "$unread"
"""In arguments that are no JSON object: the text that the model wrote."""
LOCKED_SECONDS = 4.0
"""A tool that acts on our database holds the conversation's lock meanwhile."""
STOOD_STILL_SECONDS = 1.0
"""A time limit that is noticed so late speaks of this process and not of the tool."""

Arguments = TypeVar("Arguments")


class ToolTimeout(ToolError):
    def __init__(self) -> None:
        super().__init__("tool_timeout", "The tool took too long and was stopped.")


class OutsideTool(msgspec.Struct, Generic[Arguments], frozen=True):
    """Acts on something that isn't our database."""

    name: str
    description: str
    arguments: type[Arguments] | dict[str, Any]
    """A struct, or the JSON schema of an object: then the arguments are a dict."""
    run: Callable[[str, str, Arguments], Awaitable[Any]]
    """Takes the owner, a key that is the same when the call is repeated, and the arguments."""
    idempotent: bool = False
    """Doing it twice with one key does it once: a call of unknown outcome is repeated."""
    approval: bool = False
    timeout_seconds: float | None = None
    """Instead of the time limit that holds for all."""


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
        tally: Tally | None = None,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._elsewhere: tuple[str, ...] = ()
        self._owner = owner
        self._recorder = recorder
        self._timeout = timeout
        self.awaiting: set[str] = set()
        """Calls that wait for the owner; the run loop comes to us with them all the same."""
        self._tally = tally or Tally()
        self.broken: Exception | None = None
        """The lease or the database was lost in the middle of a call: nothing of it was written."""

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def add(self, tools: Sequence[AnyTool], *, elsewhere: Collection[str] = ()) -> None:
        """More of them. What begins with `elsewhere` may be there another time."""
        self._tools |= {tool.name: tool for tool in tools}
        self._elsewhere = tuple(elsewhere)

    def needs_approval(self, call: NewCall) -> bool:
        """What can't be done anyway needs none."""
        tool = self._tools.get(call.tool_name)
        if tool is None or not tool.approval:
            return False
        try:
            parse(tool, written(call.arguments))
        except ToolError:
            return False
        return True

    def sdk_tools(self) -> list[FunctionTool]:
        return [self._sdk_tool(tool) for tool in self._tools.values()]

    async def call(self, call_id: str, name: str, arguments: bytes | str) -> Any:
        """Runs a call and commits its result; what goes wrong in the tool is a result too."""
        # A name that isn't ours is the model's own text.
        shown = name if name in self else UNKNOWN
        try:
            with self._tally.tool_call(shown, self._group(shown)):
                return await self._call(call_id, name, arguments)
        except (LeaseLost, CancelRequested, RequestError) as error:
            self.broken = self.broken or error
            raise

    async def resume(self, call: ToolCall, *, approved: bool) -> None:
        """A call that an earlier attempt began and that has no result.

        On our database it had no effect and is run now. Elsewhere it may have had one, and of a
        tool that isn't here nobody can tell. What needs an approval was begun with one, or when
        the tool didn't need it or wasn't here: then it must not run now.
        """
        tool = self._tools.get(call.tool_name)
        repeatable = isinstance(tool, Tool) or (tool is not None and tool.idempotent)
        if tool is None or not repeatable or (tool.approval and not approved):
            await self._recorder.call_failed(call.id, OUTCOME_UNKNOWN)
            return
        await self.call(call.id, call.tool_name, written(call.arguments))

    async def _call(self, call_id: str, name: str, arguments: bytes | str) -> Any:
        try:
            tool = self._tools.get(name)
            if tool is None:
                raise self._unknown(name)
            wanted = parse(tool, arguments)
            if isinstance(tool, OutsideTool):
                work = partial(tool.run, self._owner, call_id, wanted)
                result = await self._limited(work, seconds=tool.timeout_seconds)
                return await self._recorder.call_done(call_id, partial(_known, result))

            effect = partial(self._effect, tool, wanted)
            return await self._recorder.call_done(call_id, effect)
        except ToolError as error:
            self._tally.tool_failed(str(error))
            await self._recorder.call_failed(call_id, error.result)
            return error.result

    def _group(self, name: str) -> str:
        """What it is measured as: what servers elsewhere have may be any number of tools."""
        return next((f"{begin}*" for begin in self._elsewhere if name.startswith(begin)), name)

    def _unknown(self, name: str) -> ToolError:
        if name.startswith(self._elsewhere):
            return ToolError("tool_unavailable", "The tool's server can't be reached.")
        return ToolError("unknown_tool", "There is no such tool.")

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
                return fit_result(await work())
        except ParleyError:
            raise
        except TimeoutError:
            raise ToolTimeout from None
        except Exception as error:
            log.warning("tool_failed", error=type(error).__name__)
            raise ToolError("tool_failed", "The tool failed.") from None

    def _sdk_tool(self, tool: AnyTool) -> FunctionTool:
        async def invoke(context: ToolContext[Any], arguments: str) -> str:
            if context.tool_call_id in self.awaiting:
                return ""  # the turn pauses before the model would read it
            # As it was written down, shown and approved.
            asked = written(read_arguments(arguments))
            result = await self.call(context.tool_call_id, tool.name, asked)
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
    """Raises ToolError."""
    if isinstance(tool.arguments, dict):
        return clean_value(parse_arguments(dict[str, Any], arguments))
    return parse_arguments(tool.arguments, arguments)


def schema(tool: AnyTool) -> dict[str, Any]:
    if isinstance(tool.arguments, dict):
        return tool.arguments
    return arguments_schema(tool.arguments)


def fit_result(result: Any) -> Any:
    """As plain values that can be stored and read again. Raises ToolError."""
    plain = clean_value(msgspec.to_builtins(result))
    if len(msgspec.json.encode(plain)) > MAX_RESULT_BYTES:
        raise ToolError("result_too_large", "The tool's result was too large.")
    return plain


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments a model wrote, fit to be stored; what isn't an object is kept as text."""
    clean = sanitise(text)[:MAX_ARGUMENT_CHARS]
    try:
        value = msgspec.json.decode(clean or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {UNREAD: clean}
    if not isinstance(value, dict):
        return {UNREAD: clean}
    found: dict[str, Any] = clean_value(value)
    # One that has our mark is kept as text too, so that the mark is always ours.
    return {UNREAD: clean} if UNREAD in found else found


def written(arguments: dict[str, Any]) -> bytes:
    """What `read_arguments` read, as JSON, or as the text that was none."""
    if UNREAD in arguments:
        return str(arguments[UNREAD]).encode()
    return msgspec.json.encode(arguments)


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
