"""Carries out our Dockerfile without Docker: as root on Linux, with overlays instead of layers.

This machine's own system stands for the base images, so what is proved is everything but those:
what is copied, what the commands do, and that the result runs as it will: as another user, on a
file system that nobody can write to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.dockerfile import Context, Instruction, filled, read
from tests.fixtures.processes import ROOT

# In a mount namespace of its own, which ends with the process: $1 what lies above this machine's
# files (a folder to write to, or the whole options), $2 where.
MOUNT = """
set -e; options=$1; place=$2; shift 2
mount -t overlay overlay -o "$options" "$place"
for part in dev proc sys; do mount --rbind /$part "$place/$part"; done
"""
# What a container doesn't see of this machine: the work tree, homes, and nothing may be written.
HIDE = """
for part in tmp root home var/tmp $HIDDEN; do
  if [ -d "$place/$part" ]; then mount -t tmpfs -o mode=755 tmpfs "$place/$part"; fi
done
# The interpreter of this machine may live among them.
if [ ! -e "$place$BASE" ]; then
  mkdir -p "$place$BASE"; mount --bind "$BASE" "$place$BASE"; mount -o remount,bind,ro "$place$BASE"
fi
for part in tmp root home var/tmp $HIDDEN; do
  if [ -d "$place/$part" ]; then mount -o remount,ro "$place/$part"; fi
done
"""
ENTER = 'exec chroot "$place" env -i "$@"'
BOUND = 'mkdir -p "$place/mnt"; mount --bind "$SHARED" "$place/mnt"\n'
WITHIN = 'cd "$0" && exec "$@"'
UNPRIVILEGED = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


@dataclass
class Stage:
    """What one FROM begins, and in the end the image."""

    tree: Path
    """Everything that it has beyond the base."""
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": os.defpath})
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list[str])
    command: list[str] = field(default_factory=list[str])
    healthcheck: list[str] = field(default_factory=list[str])

    def inside(self, path: str) -> Path:
        return self.tree / os.path.join(self.folder, path).lstrip("/")

    def running(
        self, argv: list[str], given: Mapping[str, str] | None = None, shared: Path | None = None
    ) -> list[str]:
        """The command that runs `argv` as a container does: same pid, nothing can be written but
        `shared`, which it sees as /mnt.
        """
        place = self.tree.with_name("place")
        place.mkdir(exist_ok=True)
        variables = [f"{k}={v}" for k, v in (self.environment | dict(given or {})).items()]
        script = MOUNT + (BOUND if shared else "") + HIDE + ENTER
        user, group = self.user.split(":")
        return [
            *("env", f"SHARED={shared}", f"HIDDEN={ROOT.parts[1]}", f"BASE={sys.base_prefix}"),
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"),
            *(f"lowerdir={self.tree}:/", str(place), *variables),
            *("setpriv", f"--reuid={user}", f"--regid={group}", *UNPRIVILEGED),
            *("sh", "-c", WITHIN, self.folder, *argv),
        ]


class Builder:
    """`Builder(ROOT / "Dockerfile", scratch).build()`; scratch must not lie on an overlay."""

    def __init__(self, dockerfile: Path, scratch: Path) -> None:
        self._instructions = read(dockerfile)
        self._context = Context(dockerfile.parent)
        self._scratch = scratch
        self._stages: dict[str, Stage] = {}
        self._arguments: dict[str, str] = {}

    def build(self) -> Stage:
        stage = Stage(self._scratch)
        for instruction in self._instructions:
            if instruction.word == "FROM":
                stage = self._begin(instruction)
            else:
                getattr(self, f"_{instruction.word.lower()}")(stage, instruction)
        return stage

    def _begin(self, instruction: Instruction) -> Stage:
        image, *name = filled(instruction.rest, self._arguments).split(" AS ")
        stage = Stage(self._scratch / f"stage-{len(self._stages)}" / "tree")
        stage.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        stage.tree.mkdir(parents=True)
        self._stages[name[0] if name else "image"] = stage
        if image.startswith("node:"):
            stage.environment["PATH"] = f"{node_folder()}:{stage.environment['PATH']}"
        if image.startswith("python:"):
            folder = Path(sys.base_prefix) / "bin"
            stage.environment["PATH"] = f"{folder}:{stage.environment['PATH']}"
            if not (folder / "python").exists():
                python = stage.inside(str(folder / "python"))
                python.parent.mkdir(parents=True)
                python.symlink_to(Path(sys.executable).resolve())
        return stage

    def _arg(self, _: Stage, instruction: Instruction) -> None:
        self._arguments |= instruction.assignments()

    def _workdir(self, stage: Stage, instruction: Instruction) -> None:
        stage.folder = instruction.rest
        stage.inside(".").mkdir(parents=True, exist_ok=True)

    def _env(self, stage: Stage, instruction: Instruction) -> None:
        found = instruction.assignments().items()
        stage.environment |= {name: filled(value, stage.environment) for name, value in found}

    def _copy(self, stage: Stage, instruction: Instruction) -> None:
        *sources, target = instruction.rest.split()
        if sources[0].startswith("--from="):
            origin = self._stages[sources.pop(0).removeprefix("--from=")]
            for source in sources:
                shutil.copytree(
                    origin.inside(source), stage.inside(target), symlinks=True, dirs_exist_ok=True
                )
            return
        for source in sources:
            files = list(self._context.files(source))
            assert files, f"COPY {source}: nothing of it is sent to the builder"
            for path in files:
                copy_file(ROOT / path, destination(stage.inside(target), target, source, path))

    def _run(self, stage: Stage, instruction: Instruction) -> None:
        folder = stage.tree.parent
        for name in ("work", "build"):
            (folder / name).mkdir(exist_ok=True)
        options = f"lowerdir=/,upperdir={stage.tree},workdir={folder / 'work'}"
        variables = [f"{k}={v}" for k, v in (surroundings() | stage.environment).items()]
        subprocess.run(
            [
                *(
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    MOUNT + ENTER,
                    "sh",
                ),
                *(options, str(folder / "build"), *variables),
                *("sh", "-c", 'cd "$0" && eval "$1"', stage.folder, instruction.rest),
            ],
            check=True,
        )

    def _user(self, stage: Stage, instruction: Instruction) -> None:
        stage.user = instruction.rest

    def _entrypoint(self, stage: Stage, instruction: Instruction) -> None:
        stage.entrypoint = instruction.argv

    def _cmd(self, stage: Stage, instruction: Instruction) -> None:
        stage.command = instruction.argv

    def _healthcheck(self, stage: Stage, instruction: Instruction) -> None:
        _, _, command = instruction.rest.partition("CMD ")
        stage.healthcheck = Instruction("CMD", command).argv

    def _expose(self, stage: Stage, instruction: Instruction) -> None:
        """Tells people something, and does nothing."""


def destination(place: Path, target: str, source: str, path: Path) -> Path:
    """A folder's content goes into the target; a file keeps its name where that is a folder."""
    if path != Path(source):
        return place / path.relative_to(source)
    return place / path.name if target.endswith("/") else place


def copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def node_folder() -> Path:
    """Of the Node that `make web` would take."""
    asked = ["sh", str(ROOT / "web/node.sh"), "sh", "-c", "command -v node"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True)
    return Path(found.stdout.strip()).parent


def surroundings() -> dict[str, str]:
    """Where packages come from here; nothing of our own settings or of the Python that runs us."""
    own = ("PARLEY_", "PYTHON", "VIRTUAL_ENV", "DATABASE_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}
