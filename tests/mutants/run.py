"""Breaks the code on purpose, one line at a time, and expects the tests to notice.

`python -m tests.mutants.run [NAME …]`. Each patch names the tests that should turn red first; if
they stay green, the whole suite is asked. Exit code 1 if a mutant survives.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TESTS_FAILED = 1
_TESTS = re.compile(r"^Tests: (.+)$", re.MULTILINE)


def main(names: list[str]) -> int:
    survivors: list[str] = []
    patches = [patch for patch in sorted(HERE.glob("*.patch")) if not names or patch.stem in names]
    for patch in patches:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            caught_by = catch(patch, Path(folder))
        if caught_by is None:
            survivors.append(patch.stem)
        seconds = time.monotonic() - began
        print(f"{patch.stem:28} {caught_by or 'SURVIVES':70} {seconds:5.0f} s", flush=True)  # noqa: T201
    print(f"{len(patches) - len(survivors)} of {len(patches)} mutants are caught")  # noqa: T201
    return 1 if survivors or not patches else 0


def catch(patch: Path, folder: Path) -> str | None:
    """The first test that turns red on a mutated copy of the tree."""
    export = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, export.stdout.decode().split("\0")):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy, follow_symlinks=False)
    subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
    give_page(folder, mutated="+++ b/web/" in patch.read_text())
    named = _TESTS.search(patch.read_text())
    assert named is not None, patch
    return red(folder, named[1].split()) or red(folder, ["--ignore", "tests/architecture"])


def give_page(folder: Path, *, mutated: bool) -> None:
    """The page that was built here, or one built from what the mutant made of its source."""
    if not mutated:
        shutil.copytree(ROOT / "api/page", folder / "api/page")
        return
    for made in ("web/node_modules", "web/src/generated"):
        (folder / made).symlink_to(ROOT / made)
    subprocess.run(["sh", "web/node.sh", "npm", "run", "-s", "build"], cwd=folder, check=True)


def red(folder: Path, tests: list[str]) -> str | None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "--timeout", "60", "-rfE", *tests],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != TESTS_FAILED or found is None:
        raise SystemExit(f"the tests could not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return found[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
