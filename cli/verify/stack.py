"""A whole service of its own in a scratch directory: stores, a stand-in model, APIs, workers."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
from pydantic import SecretStr

import cli
from cli.data_dir import DataDir
from cli.errors import StartError
from cli.plan import check_port
from cli.postgres import Postgres
from cli.process import Child, Program
from cli.token import make_token
from cli.valkey import Valkey
from cli.verify.conduct import Complaints
from cli.verify.part import Part, Ready
from shared.db import Database
from shared.settings import Settings

HOST = "127.0.0.1"
WATCH_SECONDS = 0.1
STOP_SECONDS = 12.0  # a drain of 5 s, 2 s to hand back, and a busy machine
FLUSH_SECONDS = 2.0
MIGRATE_SECONDS = 60.0
KEPT = ("PARLEY_JWT_ISSUER", "PARLEY_JWT_AUDIENCE")  # tokens are made with these


class Stack:
    """`start()`, then faults through the parts and their locks, then `stop()`.

    The constructor makes the database cluster; nothing runs before `start`.
    """

    def __init__(
        self, root: Path, *, workers: int, apis: int, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data = DataDir(root).create()
        self.complaints = Complaints()
        self._secret = secrets.token_urlsafe(48)
        self._client = httpx.AsyncClient(timeout=2, trust_env=False)
        self._watching: asyncio.Task[None] | None = None
        self._starting: set[asyncio.Task[None]] = set()
        postgres, valkey = self._stores()
        self.redis_socket = valkey.socket
        self.postgres = self.part(postgres.program(), postgres.ready)
        self.redis = self.part(valkey.program(), valkey.ready)
        self.database_url, self.redis_url = postgres.url, valkey.url
        model = self._place("model")
        model_host, model_port = model.split(":")
        self.model_url = f"http://{model}"
        self.environment = self._environment() | dict(settings or {})
        self.model = self._http_part("model", "cli.verify.stand_in", model, model_port, model_host)
        places = {f"api-{number}": self._place(f"api-{number}") for number in range(1, apis + 1)}
        self._urls = [f"http://{place}" for place in places.values()]
        self.apis = [self._http_part(name, "api.main", place) for name, place in places.items()]
        self.workers = [self.worker(f"worker-{number}") for number in range(1, workers + 1)]
        self.others: list[Part] = []
        """Workers that were added on the way."""

    @property
    def parts(self) -> list[Part]:
        """In the order of an orderly stop."""
        own = [*self.apis, *self.workers, *self.others]
        return [*own, self.model, self.redis, self.postgres]

    def urls(self) -> list[str]:
        """Of the APIs, whether they are up or not."""
        return [*self._urls]

    def token(self, owner: str) -> str:
        return make_token(owner, self._secret)

    def database(self) -> Database:
        """For looking at the rows. Close it."""
        return Database(self.settings())

    def settings(self) -> Settings:
        """Of somebody beside the parts who looks at the stores."""
        return Settings(
            database_url=SecretStr(self.database_url),
            redis_url=SecretStr(self.redis_url),
            database_pool_size=2,
        )

    async def start(self) -> None:
        """Raises StartError if something doesn't; whatever did must then be stopped."""
        await asyncio.gather(self.postgres.start(), self.redis.start(), self.model.start())
        for part in (self.postgres, self.redis, self.model):
            part.require()
        await self._migrate()
        await asyncio.gather(*(part.start() for part in (*self.apis, *self.workers)))
        for part in (*self.apis, *self.workers):
            part.require()
        self._watching = asyncio.create_task(self._watch())

    async def heal(self) -> None:
        """Everybody runs and is ready."""
        for part in self.parts:
            async with part.lock:
                part.resume()
                if not part.running:
                    part.ended_by_itself()
                    await part.start()

    async def stop(self) -> None:
        """In order; each must end well when asked. Safe to call again."""
        await self._end_watch()
        for group in (self.apis, [*self.workers, *self.others], [self.redis, self.postgres]):
            await asyncio.gather(*(part.stop() for part in group))
        await self.model.kill()
        await self._client.aclose()

    async def abandon(self) -> None:
        """At once and without a word, after a failure or Ctrl-C."""
        await self._end_watch()
        for part in self.parts:
            if part.running:
                await part.kill()
        await self._client.aclose()

    async def flush_redis(self) -> bool:
        """FLUSHALL; False if Redis wasn't there to hear it."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.redis_socket)
                writer.write(b"FLUSHALL\r\n")
                said = await reader.readline()
                writer.close()
                await writer.wait_closed()
                return said.startswith(b"+OK")
        return False

    def worker(
        self, name: str, module: str = "worker.main", *arguments: str, **changed: str
    ) -> Part:
        """Ready when it says so: it has nothing to connect to. `changed` are its own settings."""

        def says_so(child: Child) -> bool:
            return '"worker_started"' in child.log.read_text(errors="replace")

        return self.part(self._program(name, module, *arguments, **changed), says_so)

    def part(self, program: Program, ready: Ready) -> Part:
        return Part(program, self.data, ready=ready, complaints=self.complaints)

    def _stores(self) -> tuple[Postgres, Valkey]:
        return Postgres(self.data), Valkey(self.data)

    def _place(self, name: str) -> str:  # noqa: ARG002 - for those who have more than one
        """Where this part will listen, as `host:port`."""
        return f"{HOST}:{check_port(HOST, 0)}"

    def _http_part(self, name: str, module: str, place: str, *arguments: str) -> Part:
        async def answers(_: Child) -> bool:
            with suppress(httpx.HTTPError):
                return (await self._client.get(f"http://{place}/health")).is_success
            return False

        host, port = place.split(":")
        own = {"PARLEY_HOST": host, "PARLEY_PORT": port}
        program = self._program(name, module, *arguments, **own)
        return self.part(program, answers)

    def _program(self, name: str, module: str, *arguments: str, **changed: str) -> Program:
        argv = (sys.executable, "-P", "-m", module, *arguments)
        return Program(name, argv, {**self.environment, **changed}, stop_seconds=STOP_SECONDS)

    def _environment(self) -> dict[str, str]:
        """Ours alone: nothing of the user's own service may reach this one, nor the other way."""
        theirs = {name.upper() for name in Settings.model_fields} - {*KEPT}
        inherited = {name: value for name, value in os.environ.items() if name not in theirs}
        package = Path(cli.__file__).parent.parent
        return inherited | {
            "PYTHONPATH": os.pathsep.join([str(package), *inherited.get("PYTHONPATH", "").split()]),
            "PARLEY_ENV": "development",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "PARLEY_JWT_SECRET": self._secret,
            "PARLEY_MODEL": "stand-in",
            "OPENAI_BASE_URL": f"{self.model_url}/v1",
            "OPENAI_API_KEY": "sk-stand-in",
            # A storm from one address asks more than any client may.
            "PARLEY_LIMIT_REQUESTS_PER_MINUTE": "0",
            "PARLEY_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": "0",
            "PARLEY_LIMIT_MESSAGES_PER_MINUTE": "0",
            "PARLEY_LIMIT_STREAMS": "0",
        }

    async def _migrate(self) -> None:
        child = Child(self._program("migrate", "migrations.run"), self.data)
        child.start()
        async with asyncio.timeout(MIGRATE_SECONDS):
            while child.alive():
                await asyncio.sleep(WATCH_SECONDS)
        child.forget()
        if child.returncode():
            raise StartError(f"The database could not be prepared:\n{child.last_lines()}")

    async def _watch(self) -> None:
        """Until cancelled. What ends by itself is a violation, and is started again."""
        while True:
            for part in self.parts:
                if part.ended_by_itself():
                    task = asyncio.create_task(self._start_again(part))
                    self._starting.add(task)
                    task.add_done_callback(self._starting.discard)
            await asyncio.sleep(WATCH_SECONDS)

    async def _start_again(self, part: Part) -> None:
        async with part.lock:
            if not part.running:
                await part.start()

    async def _end_watch(self) -> None:
        tasks = [*self._starting, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
