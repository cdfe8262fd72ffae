"""Ours and the naive server side by side: one Postgres server, one stand-in model, one machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.clients import Client, NaiveClient, ParleyClient
from bench.figures import place_of_a_stack
from cli.plan import check_port
from cli.verify.stack import HOST, Stack

START_SECONDS = 30.0
SETTINGS = {
    "PARLEY_MODEL": "bench",
    "PARLEY_MAX_TURNS": "1000",
    # Counted as in life, and never reached.
    "PARLEY_LIMIT_REQUESTS_PER_MINUTE": "1000000",
    "PARLEY_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
    "PARLEY_LIMIT_MESSAGES_PER_MINUTE": "1000000",
    "PARLEY_LIMIT_STREAMS": "100000",
    "PARLEY_LIMIT_QUEUED_TURNS": "1000000",
    "PARLEY_LIMIT_RUNNING_TURNS": "1000000",
}


@dataclass
class Stage:
    """What runs, by name of part: the process that each part's CPU is counted from."""

    stack: Stack
    naive_port: int
    pids: dict[str, int]

    def ours(self, number: int) -> Client:
        """The clients are spread over the APIs; what one API accepts, another streams."""
        ports = [int(url.rsplit(":", 1)[1]) for url in self.stack.urls()]
        post, follow = ports[number % len(ports)], ports[(number + 1) % len(ports)]
        return ParleyClient(post, follow, self.stack.token(f"user-{number}"))

    def shared_by(self, owners: int) -> Callable[[int], Client]:
        """The same for clients of so many owners."""
        port = int(self.stack.urls()[0].rsplit(":", 1)[1])
        tokens = [self.stack.token(f"owner-{number}") for number in range(owners)]
        return lambda number: ParleyClient(port, port, tokens[number % owners])

    def naive(self, number: int) -> Client:
        return NaiveClient(self.naive_port, self.stack.token(f"user-{number}"))


@asynccontextmanager
async def staged(
    *, workers: int = 1, apis: int = 1, others: Mapping[str, str] | None = None
) -> AsyncGenerator[Stage]:
    """`others` are settings that not every stage has."""
    model_port, naive_port = check_port(HOST, 0), check_port(HOST, 0)
    model = {"OPENAI_BASE_URL": f"http://{HOST}:{model_port}/v1"}
    settings = SETTINGS | model | dict(others or {})
    with place_of_a_stack() as folder:
        stack = Stack(folder, workers=workers, apis=apis, settings=settings)
        provider = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.provider", str(model_port), env=environment(stack)
        )
        naive = None
        try:
            await stack.start()
            url = await own_database(stack)
            naive = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.naive"),
                env=environment(stack)
                | {"NAIVE_DATABASE_URL": url, "PARLEY_PORT": str(naive_port)},
            )
            await answers(naive_port)
            own = {part.name: part.life.child.pid for part in stack.parts}
            # The stack's own stand-in has nothing to do here.
            pids = own | {"provider": provider.pid, "naive": naive.pid}
            yield Stage(stack, naive_port, pids)
            await stack.stop()
        finally:
            for process in (provider, naive):
                if process is not None:
                    process.kill()
                    await process.wait()
            await stack.abandon()


def environment(stack: Stack) -> dict[str, str]:
    return dict(os.environ) | stack.environment | {"PYTHONPATH": str(Path(__file__).parent.parent)}


async def own_database(stack: Stack) -> str:
    """For the naive server, beside ours: its URL as SQLAlchemy wants it."""
    ours = make_url(stack.database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(ours, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("CREATE DATABASE naive"))
    await engine.dispose()
    return ours.set(database="naive").render_as_string(hide_password=False)


async def answers(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(START_SECONDS):
        while True:
            with suppress(httpx.HTTPError):
                if (await client.get(f"http://{HOST}:{port}/health")).is_success:
                    return
            await asyncio.sleep(0.05)
