"""A stack with the processes of two releases on the same stores."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from cli.errors import StartError
from cli.process import Child, Program
from cli.verify.part import Part, until
from cli.verify.stack import MIGRATE_SECONDS, Stack
from tests.upgrades.releases import Release

MIGRATED = re.compile(r"Migrated to (\d+) in (\d+) ms")


class Side:
    """The processes of one release. A part's name begins with the name of its side."""

    def __init__(self, name: str, release: Release) -> None:
        self.name = name
        self.release = release
        self.apis: list[tuple[Part, str]] = []
        """With their addresses."""
        self.workers: list[Part] = []

    @property
    def parts(self) -> list[Part]:
        return [*(part for part, _ in self.apis), *self.workers]


class Stage(Stack):
    """`start()` has the old release run on its own schema; whoever joins or leaves is told by the
    balancer to the clients.
    """

    def __init__(self, root: Path, old: Release, new: Release, *, workers: int, apis: int) -> None:
        self.old, self.new = Side("old", old), Side("new", new)
        super().__init__(root, workers=0, apis=0, settings={"PARLEY_DRAIN_SECONDS": "0"})
        self._balancer: list[str] = []
        for side in (self.old, self.new):
            self._prepare(side, workers=workers, apis=apis)

    def urls(self) -> list[str]:
        return list(self._balancer)

    async def start(self) -> None:
        await asyncio.gather(self.postgres.start(), self.redis.start(), self.model.start())
        for part in (self.postgres, self.redis, self.model):
            part.require()
        await self.migrate(self.old)
        await self.join(self.old)
        self._watching = asyncio.create_task(self._watch())

    async def heal(self) -> None:
        """Nothing was broken: who has left has left on purpose."""

    async def join(self, side: Side) -> None:
        """All of its processes, beside whoever is there."""
        await asyncio.gather(*(part.start() for part in side.parts))
        for part in side.parts:
            part.require()
        self._balancer += [url for _, url in side.apis]

    async def leave(self, side: Side) -> None:
        """One by one, asked by SIGTERM. The balancer notices last."""
        for worker in side.workers:
            async with worker.lock:
                await worker.stop()
        for api, url in side.apis:
            async with api.lock:
                await api.stop()
            self._balancer.remove(url)

    async def migrate(self, side: Side) -> list[tuple[str, int]]:
        """What it took: revisions, each with its milliseconds."""
        child = Child(self._program(f"{side.name}-migrate", "migrations.run"), self.data)
        child.start()
        if not await until(lambda: not child.alive(), seconds=MIGRATE_SECONDS):
            raise StartError("The migration does not end")
        child.forget()
        if child.returncode():
            raise StartError(f"The migration failed:\n{child.last_lines()}")
        said = child.log.read_text()
        return [(found[1], int(found[2])) for found in MIGRATED.finditer(said)]

    def _prepare(self, side: Side, *, workers: int, apis: int) -> None:
        for number in range(1, apis + 1):
            name = f"{side.name}-api-{number}"
            place = self._place(name)
            part = self._http_part(name, "api.main", place)
            side.apis.append((part, f"http://{place}"))
            self.apis.append(part)
        for number in range(1, workers + 1):
            part = self.worker(f"{side.name}-worker-{number}")
            side.workers.append(part)
            self.workers.append(part)

    def _program(self, name: str, module: str, *arguments: str, **changed: str) -> Program:
        """Of the release that the name begins with."""
        for side in (self.old, self.new):
            if name.startswith(f"{side.name}-"):
                changed["PYTHONPATH"] = str(side.release.tree)
        return super()._program(name, module, *arguments, **changed)
