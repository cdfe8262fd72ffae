"""What the limits cost a request, and whether three APIs keep one: `python -m bench.limits`.

The cost is measured in one process, with and without limits by turns, each request a read of the
list of tasks. Targets: less than 1.3 times as long; of three APIs together exactly as many pass.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import structlog
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from api.app import create_app
from bench.figures import median_and_p99, milliseconds, place_of_a_stack
from cli.token import make_token
from cli.verify.stack import Stack
from shared.settings import Environment, Settings

OWNER = "bench"
BLOCK, AT_ONCE = 100, 20
APIS, LIMIT = 3, 600
SECRET = "only for as long as this measurement takes"  # noqa: S105
HEADERS = {"Authorization": f"Bearer {make_token(OWNER, SECRET)}"}
NONE = {
    name: 0
    for name in Settings.model_fields
    if name.startswith("parley_limit_") and name.endswith("_per_minute")
}
ENOUGH = dict.fromkeys(NONE, 10**9)


async def cost(stack: Stack, rounds: int) -> Table:
    table = Table("requests at once", "limits", "median ms", "p99 ms", "times without")
    settings = Settings(
        parley_env=Environment.development,
        database_url=SecretStr(stack.database_url),
        redis_url=SecretStr(stack.redis_url),
        parley_jwt_secret=SecretStr(SECRET),
    )
    async with AsyncExitStack() as opened:
        clients: list[httpx.AsyncClient] = []
        for limits in (NONE, ENOUGH):
            app = create_app(settings.model_copy(update=limits))
            await opened.enter_async_context(app.lifespan())
            transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType]
            client = httpx.AsyncClient(
                transport=transport, base_url="http://parley", headers=HEADERS
            )
            clients.append(await opened.enter_async_context(client))
        for at_once in (1, AT_ONCE):
            times: list[list[float]] = [[], []]
            for _ in range(rounds):
                for client, of_client in zip(clients, times, strict=True):
                    of_client.extend(await block(client, at_once))
            without = median_and_p99(times[0])[0]
            for name, found in zip(("none", "all"), times, strict=True):
                median, p99 = median_and_p99(found)
                figures = (milliseconds(median), milliseconds(p99), f"{median / without:.2f}")
                table.add_row(str(at_once), name, *figures)
    return table


async def block(client: httpx.AsyncClient, at_once: int) -> list[float]:
    """Seconds a request: of a whole round where several are made at once, divided by them."""
    found: list[float] = []
    for _ in range(max(1, BLOCK // at_once)):
        began = time.perf_counter()
        answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(at_once)))
        found.append((time.perf_counter() - began) / at_once)
        assert all(answer.status_code == 200 for answer in answers)
    return found


async def exactness(stack: Stack, owners: int) -> Table:
    table = Table("APIs", "owners", "limit", "requests of each", "passed, least", "passed, most")
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(
                httpx.AsyncClient(base_url=url, limits=limits, timeout=60)
            )
            for url in stack.urls()
        ]

        async def passed(owner: str) -> int:
            headers = {"Authorization": f"Bearer {stack.token(owner)}"}
            asked = [client.get("/api/tasks", headers=headers) for client in clients]
            asked += [
                client.get("/api/tasks", headers=headers)
                for client in clients
                for _ in range(LIMIT // 2)
            ]
            return sum(answer.status_code == 200 for answer in await asyncio.gather(*asked))

        found = [await passed(f"owner-{number}") for number in range(owners)]
    asked = str(APIS * (LIMIT // 2 + 1))
    table.add_row(str(APIS), str(owners), str(LIMIT), asked, str(min(found)), str(max(found)))
    return table


async def measure(root: Path, rounds: int, owners: int) -> list[Table]:
    limit = {"PARLEY_LIMIT_REQUESTS_PER_MINUTE": str(LIMIT)}
    stack = Stack(root, workers=0, apis=APIS, settings=limit)
    try:
        await stack.start()
        return [await cost(stack, rounds), await exactness(stack, owners)]
    finally:
        await stack.abandon()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--owners", type=int, default=5)
    asked = parser.parse_args()
    # A line for each request is for whoever reads it.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with place_of_a_stack() as place:
        tables = asyncio.run(measure(place, **vars(asked)))
    for table in tables:
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
