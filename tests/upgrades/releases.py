"""Two releases side by side: where the other one's code comes from."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from migrations.run import newest_revision

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("api", "worker", "shared", "cli", "migrations")


class NoHistoryError(Exception):
    """The sentence says what to do."""


@dataclass(frozen=True)
class Release:
    """`tree` is where its packages lie."""

    name: str
    tree: Path
    revision: str


def this_release() -> Release:
    return Release("this release", ROOT, newest_revision())


def previous_release(scratch: Path) -> Release:
    """As it was before the newest migration came in. Raises NoHistoryError."""
    (migration,) = (ROOT / "migrations/versions").glob(f"{newest_revision()}_*.py")
    path = migration.relative_to(ROOT)
    added = _git("log", "--diff-filter=A", "--format=%H", "--", str(path)).split()
    parent = _git("rev-list", "--parents", "-n", "1", added[-1]).split()[1:] if added else []
    if not parent:
        raise NoHistoryError(
            f"The commit that added {path}, or the one before it, is not in this repository's"
            " history, so there is no previous release to upgrade from. In a shallow clone:"
            " git fetch --unshallow"
        )
    archive = subprocess.run(
        ("git", "-C", str(ROOT), "archive", parent[0]), capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(scratch, filter="data")
    return Release(f"commit {parent[0][:7]}", scratch, _revision(scratch))


def next_release(scratch: Path, migration: str) -> Release:
    """This release with one migration more: `migration` is its source, `{this}` and `{next}` in
    it are the revisions.
    """
    for package in PACKAGES:
        leave = shutil.ignore_patterns("__pycache__", "page")
        shutil.copytree(ROOT / package, scratch / package, ignore=leave)
    this = newest_revision()
    revision = f"{int(this) + 1:04}"
    source = migration.replace("{this}", this).replace("{next}", revision)
    (scratch / f"migrations/versions/{revision}_next.py").write_text(source)
    models = scratch / "shared/models.py"
    old, new = f'SCHEMA_REVISION = "{this}"', f'SCHEMA_REVISION = "{revision}"'
    models.write_text(models.read_text().replace(old, new))
    return Release("the next release", scratch, _revision(scratch))


def _revision(tree: Path) -> str:
    found = re.search(r'^SCHEMA_REVISION = "(\d+)"', (tree / "shared/models.py").read_text(), re.M)
    assert found is not None
    return found[1]


def _git(*arguments: str) -> str:
    """Empty where git has no answer."""
    command = ("git", "-C", str(ROOT), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
