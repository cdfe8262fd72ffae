"""Structured logs: an event name and fields, one line each; never message text, never secrets.

Errors and libraries quote what they were given. So an error is told by its kind and the place it
was raised at, and a library's words are left out (docs/logging.md).
"""

from __future__ import annotations

import logging
import sys
import warnings
from asyncio import AbstractEventLoop
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from shared.settings import Settings

log = structlog.get_logger()

ROOT = Path(__file__).parent.parent
# Its first lines are its own sentences: an address in use, a request that was no HTTP.
SPEAKS_FOR_ITSELF = "uvicorn.error"


def configure_logging(settings: Settings, *, process: str) -> None:
    """Sets up this process's logging; `process` is bound to every line."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.parley_log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, _without_its_words, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _of_a_library,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_its_words,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # A connection that can't be closed in good order is replaced; its traceback helps nobody.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    # It logs what it can't read, and that may be anybody's text.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    warnings.showwarning = _on_warning
    sys.excepthook = _on_crash


def request_id() -> str | None:
    """Of the request that this is done for, as far as it is known."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


def told(error: BaseException) -> dict[str, str]:
    """What a log line may say of an error: its kind, its cause's, and where it was raised."""
    facts = {"error": type(error).__name__, "at": _place(error.__traceback__)}
    if error.__cause__ is not None:
        facts["cause"] = type(error.__cause__).__name__
    return facts


def _place(traceback: TracebackType | None) -> str:
    """`file.py:line`, the innermost of our own files where there is one."""
    ours = innermost = "unknown"
    for frame, line in walk_tb(traceback):
        path = Path(frame.f_code.co_filename)
        innermost = f"{path.name}:{line}"
        if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
            ours = f"{path.relative_to(ROOT)}:{line}"
    return ours if ours != "unknown" else innermost


def on_stray_error(_: AbstractEventLoop, context: dict[str, Any]) -> None:
    """For what nobody waits for: libraries close lost connections in tasks of their own."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.warning("connection_lost", error=type(error).__name__)
    elif isinstance(error, BaseException):
        log.error("stray_error", **told(error))
    else:
        log.error("stray_error", error="none")


def _without_its_words(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An error given as `exc_info` becomes what may be said of it."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error: object = cast("tuple[object, ...]", given)[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event.update(told(error))
    return event


def _of_a_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Who said something, and where."""
    record: logging.LogRecord = event["_record"]
    first_line = str(event["event"]).strip().partition("\n")[0]
    place = {"logger": record.name, "said_at": f"{record.filename}:{record.lineno}"}
    words = first_line if record.name == SPEAKS_FOR_ITSELF else "library_log"
    event.update(place, event=words)
    return event


def _on_warning(
    _: Warning | str, category: type[Warning], filename: str, lineno: int, *__: object
) -> None:
    log.warning(
        "library_warning", category=category.__name__, said_at=f"{Path(filename).name}:{lineno}"
    )


def _on_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("process_crashed", **told(error.with_traceback(traceback)))
