"""Records event logs of the real service, for whoever folds events: `python -m tests.golden.record`

Each `*.json` beside this file is one conversation: the state `before` (as `GET …/messages` shows
it), the `events` of a stream that goes on from there, and the state `after`. Python and the page
fold the same logs and must come to the same end. Names of scenarios record these alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from cli.verify.stack import Stack
from tests.fixtures.elsewhere import Elsewhere, tools_of
from tests.fixtures.processes import free_port
from tests.fixtures.waiting import until
from tests.golden.room import entered
from tests.golden.scenarios import SCENARIOS, Scenario, name_of

FOLDER = Path(__file__).parent
OWNER = "alice"


def settings(elsewhere: Elsewhere) -> dict[str, str]:
    server = {"name": "files", "transport": "http", "url": elsewhere.url}
    server |= {"tools": ["search", "delete"], "approval": ["delete"]}
    return {
        "PARLEY_MCP_SERVERS": json.dumps({"servers": [server]}),
        "PARLEY_LEASE_SECONDS": "2",
        "PARLEY_MODEL_RETRIES": "2",
        "PARLEY_MODEL_BACKOFF_SECONDS": "0.02",
    }


@contextmanager
def files_server() -> Generator[Elsewhere]:
    """An MCP server with a tool that needs approval."""
    elsewhere = Elsewhere(free_port())
    app = tools_of(elsewhere).streamable_http_app()
    config = uvicorn.Config(app, port=elsewhere.port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield elsewhere
    finally:
        server.should_exit = True
        thread.join(10)


async def record(stack: Stack, scenario: Scenario) -> None:
    async with httpx.AsyncClient(base_url=stack.model_url, trust_env=False) as model:
        await model.post("/reset")
    name = name_of(scenario)
    async with entered(stack, f"{OWNER}-{name}") as room:
        await scenario(room)
        found = await room.record(name)
    text = json.dumps(found, ensure_ascii=False, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    print(f"{name}: {len(found['events'])} events", flush=True)  # noqa: T201


async def record_all(wanted: list[Scenario]) -> None:
    with files_server() as elsewhere, tempfile.TemporaryDirectory(prefix="golden-") as root:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def listens() -> bool:
                try:
                    return (await client.get(elsewhere.url)).status_code > 0
                except httpx.TransportError:
                    return False

            await until(listens)
        stack = Stack(Path(root), workers=1, apis=1, settings=settings(elsewhere))
        try:
            await stack.start()
            for scenario in wanted:
                await record(stack, scenario)
        finally:
            await stack.abandon()


def main() -> None:
    logging.disable(logging.WARNING)
    names = sys.argv[1:]
    wanted = [one for one in SCENARIOS if not names or name_of(one) in names]
    asyncio.run(record_all(wanted))


if __name__ == "__main__":
    main()
