"""`python -m api.main`: the API as a process of its own."""

from __future__ import annotations

import gc

# Of what is loaded nothing is garbage: looking for some is a sixth of an API's start.
gc.disable()

import asyncio
import resource
import signal
import sys
from contextlib import suppress

import structlog
import uvicorn
from litestar import Litestar

from api.app import create_app
from api.patience import ASKING_SECONDS, patient
from shared.errors import SettingsError
from shared.log import configure_logging
from shared.room import refuse_without_room
from shared.settings import Settings, load_settings
from shared.tracing import begin_tracing, end_tracing

gc.enable()

log = structlog.get_logger()

GRACE_SECONDS = 8
MANY_FILES = 65_536
"""Where an account has no limit."""


def main() -> int:
    try:
        settings = load_settings()
        app = create_app(settings)
        begin_tracing(settings, process="api")
        configure_logging(settings, process="api")
        asyncio.run(refuse_without_room(settings))
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return 2
    open_many_files()
    # What is there by now stays: looking for garbage among it, each time some thousand viewers are
    # told something, would take longer than telling them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)
    server = serving(app, settings)
    # Once it has stopped, uvicorn raises the signal again for whoever listened before it. It was
    # told to stop and did: that is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    server.run()
    end_tracing()
    return 0 if server.started else 3


def open_many_files() -> None:
    """As many as the account may have: each stream is one, and most accounts begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if most == resource.RLIM_INFINITY else most
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def serving(
    app: Litestar, settings: Settings, *, asking_seconds: float = ASKING_SECONDS
) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.parley_host,
            port=settings.parley_port,
            loop="uvloop",
            http=patient(settings.parley_stream_send_timeout_seconds, asking_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def _nothing(*_: object) -> None:
    """SIG_IGN would be inherited by children; this is not."""


if __name__ == "__main__":
    sys.exit(main())
