"""Processes of ours that look at what only they know: `worker.probe` and `api.probe`.

They have the settings, the libraries and the code of a worker and of an API; this package has not.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import msgspec

from shared.probed import Probed

API_SECONDS = 15.0
"""Much longer than it takes to load."""
MODEL_SECONDS = 20.0
SHARE_OF_ASKING = 0.7
"""Of them, for the model; a worker's libraries take the others to load."""


async def ask_worker(seconds: float = MODEL_SECONDS) -> Probed | None:
    """None where it said nothing in time."""
    asking = ("--seconds", str(seconds * SHARE_OF_ASKING))
    said = await output_of("worker.probe", *asking, seconds=seconds)
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(said, type=Probed)
    return None


async def ask_api() -> list[str] | None:
    """Why an API would not start; None where nothing is known."""
    said = await output_of("api.probe", seconds=API_SECONDS)
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(said, type=Probed).problems
    return None


async def output_of(module: str, *arguments: str, seconds: float) -> bytes:
    """What it printed; nothing where it took too long. Its complaints may say too much."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await child.communicate()
            return said
    except TimeoutError:
        return b""
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
