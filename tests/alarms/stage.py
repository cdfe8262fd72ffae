"""A whole service with a Prometheus that watches it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.figures import place_of_a_stack
from cli.plan import check_port
from cli.process import Child, Program
from cli.verify.part import Part
from cli.verify.stack import HOST, Stack
from tests.alarms.rules import write_hurried

APIS = 2
WORKERS = 2
SCRAPE_SECONDS = 2
SETTINGS = {
    "PARLEY_MAX_TURNS": "8",
    "PARLEY_LEASE_SECONDS": "2",
    "PARLEY_DRAIN_SECONDS": "0.5",
    "PARLEY_LIMIT_QUEUED_TURNS": "0",
}

Series = dict[str, Any]
"""As Prometheus tells it: `metric` are its labels, `value` or `values` what it was."""


class Prometheus:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def firing(self) -> set[str]:
        """The names of the alerts that fire, a store's with its name."""
        answer = await self._client.get("/api/v1/alerts")
        answer.raise_for_status()
        return {
            " ".join(filter(None, (alert["labels"]["alertname"], alert["labels"].get("store"))))
            for alert in answer.json()["data"]["alerts"]
            if alert["state"] == "firing"
        }

    async def now(self, expression: str) -> list[Series]:
        return await self._ask("query", query=expression)

    async def lately(self, expression: str, *, seconds: float, step: float) -> list[Series]:
        end = int(time.time())
        return await self._ask(
            "query_range", query=expression, start=end - seconds, end=end, step=step
        )

    async def _ask(self, kind: str, **asked: Any) -> list[Series]:
        """Raises HTTPStatusError where Prometheus doesn't understand it."""
        answer = await self._client.get(f"/api/v1/{kind}", params=asked)
        answer.raise_for_status()
        found: list[Series] = answer.json()["data"]["result"]
        return found


class Stage:
    """What runs, and who watches."""

    def __init__(self, stack: Stack, watching: Part, prometheus: Prometheus) -> None:
        self.stack = stack
        self.watching = watching
        self.prometheus = prometheus

    @property
    def workers(self) -> list[Part]:
        return self.stack.others


@asynccontextmanager
async def staged(program: Path) -> AsyncGenerator[Stage]:
    """`program` is prometheus. Nothing is left behind, whatever happens."""
    with place_of_a_stack() as folder:
        stack = Stack(folder, workers=0, apis=APIS, settings=SETTINGS)
        ports = [check_port(HOST, 0) for _ in range(WORKERS)]
        watching, url = _prometheus(program, stack, ports)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            try:
                await stack.start()
                for number, port in enumerate(ports, 1):
                    own = {"PARLEY_METRICS_PORT": str(port)}
                    worker = stack.worker(f"worker-{number}", **own)
                    stack.others.append(worker)
                    await worker.start()
                    worker.require()
                await watching.start()
                watching.require()
                yield Stage(stack, watching, Prometheus(client))
                await stack.stop()
            finally:
                if watching.running:
                    await watching.kill()
                await stack.abandon()


def _prometheus(program: Path, stack: Stack, worker_ports: list[int]) -> tuple[Part, str]:
    root = stack.data.root
    port = check_port(HOST, 0)
    url = f"http://{HOST}:{port}"
    apis = [url.removeprefix("http://") for url in stack.urls()]
    workers = [f"{HOST}:{port}" for port in worker_ports]
    write_hurried(root / "alerts.yml")
    config = {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "scrape_timeout": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": "1s",
        },
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": "parley-api", "static_configs": [{"targets": apis}]},
            {"job_name": "parley-worker", "static_configs": [{"targets": workers}]},
        ],
    }
    (root / "prometheus.yml").write_text(yaml.safe_dump(config))
    argv = (
        str(program),
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={root / 'prometheus'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=error",
    )

    async def ready(_: Child) -> bool:
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
                return (await client.get(f"{url}/-/ready")).is_success
        return False

    return stack.part(Program("prometheus", argv), ready), url
