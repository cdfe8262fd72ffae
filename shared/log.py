"""Structured logs: an event name and fields, one line each; never message text, never secrets."""

from __future__ import annotations

import logging
import sys
from asyncio import AbstractEventLoop
from typing import Any

import structlog

from shared.settings import Settings

log = structlog.get_logger()


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
        processors=[*shared, structlog.processors.format_exc_info, renderer],
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
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # A connection that can't be closed in good order is replaced; its traceback helps nobody.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def on_stray_error(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """For what nobody waits for: libraries close lost connections in tasks of their own."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.warning("connection_lost", error=type(error).__name__)
    else:
        loop.default_exception_handler(context)
