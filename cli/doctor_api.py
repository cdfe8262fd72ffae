"""What answers at the API's address: Parley, somebody else, or nobody; and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil

from cli.doctor_findings import Finding, failure, ok, unknown, warning
from cli.errors import CliError
from cli.plan import check_port, names_this_machine
from cli.status import in_words, parts_of

ANSWER_SECONDS = 3.0
PORT, API = "port", "api"
LISTEN_ELSEWHERE = (
    "Stop what listens there, or have Parley listen elsewhere: `parley up --port`, PARLEY_PORT."
)


class There(Enum):
    parley = "Parley"
    stranger = "something else"
    silent = "something that doesn't answer"
    nobody = "nothing"


class Seen(NamedTuple):
    there: There
    ready: bool = False
    parts: dict[str, Any] | None = None


class Expected(Enum):
    """What there should be at the address."""

    running = "named, or started by the `parley up` that runs"
    maybe = "an environment: its API may run elsewhere"
    free = "nothing runs yet"


async def examine_api(
    url: str, expected: Expected, refused: Callable[[], Awaitable[list[str] | None]] | None = None
) -> list[Finding]:
    """`refused` finds out why an API of this environment would not start."""
    seen = await look(url)
    port = check_address(url, seen, expected)
    if seen.there is There.parley:
        return [port, check_ready(seen)]
    problems = await refused() if refused else None
    if problems:
        said = f"an API would not start: {'; '.join(problems)}"
        remedy = "Correct them in the environment; .env.example says what each one is."
        return [port, failure(API, said, remedy)]
    if seen.there is not There.nobody or expected is Expected.free:
        return [port, unknown(API, f"there is {seen.there.value} at its address")]
    said = f"nothing listens at {url}"
    if expected is Expected.running:
        remedy = "Start it, or read its log; name another address with --url."
        return [port, failure(API, said, remedy)]
    remedy = "Start `parley api`, or name with --url where it runs."
    return [port, warning(API, said, remedy)]


async def look(url: str) -> Seen:
    """Only Parley answers with the request's own id: others may have a /health/ready too."""
    request_id = uuid4().hex
    try:
        async with asyncio.timeout(ANSWER_SECONDS), client_for(url) as client:
            answer = await client.get("/health/ready", headers={"X-Request-Id": request_id})
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Seen(There.nobody)
    except (httpx.TimeoutException, TimeoutError):
        return Seen(There.silent)
    except (httpx.HTTPError, httpx.InvalidURL):
        return Seen(There.stranger)
    if answer.headers.get("X-Request-Id") != request_id:
        return Seen(There.stranger)
    with suppress(ValueError):
        return Seen(There.parley, answer.is_success, parts_of(answer.json()))
    return Seen(There.stranger)


def client_for(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)


def check_address(url: str, seen: Seen, expected: Expected) -> Finding:
    host, port = address_of(url)
    where = f"{host}:{port}"
    match seen.there:
        case There.parley:
            return ok(PORT, f"Parley answers at {where}")
        case There.stranger:
            said = f"{where} is taken by something else{who_listens(port)}"
            return failure(PORT, said, LISTEN_ELSEWHERE)
        case There.silent:
            said = f"{where} is taken by something that doesn't answer{who_listens(port)}"
            return failure(PORT, said, LISTEN_ELSEWHERE)
        case There.nobody if names_this_machine(host) and expected is not Expected.running:
            return can_be_had(host, port)
        case There.nobody:
            return unknown(PORT, f"nothing listens at {where}")


def can_be_had(host: str, port: int) -> Finding:
    try:
        check_port(host, port)
    except CliError as error:
        return failure(PORT, str(error), LISTEN_ELSEWHERE)
    return ok(PORT, f"{host}:{port} is free")


def who_listens(port: int) -> str:
    """By name, where the system tells us."""
    with suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            listens = found.status == psutil.CONN_LISTEN and port in found.laddr
            if listens and found.pid:
                return f" ({psutil.Process(found.pid).name()}, pid {found.pid})"
    return ""


def check_ready(seen: Seen) -> Finding:
    if seen.ready:
        return ok(API, "ready")
    missing = [
        f"{name}: {in_words(part)}"
        for name, part in (seen.parts or {}).items()
        if isinstance(part, dict) and cast("dict[str, Any]", part).get("status") != "ok"
    ]
    said = f"not ready: {'; '.join(missing)}" if missing else "not ready"
    return failure(API, said, "See the lines of these parts; the API reaches them by its settings.")


def address_of(url: str) -> tuple[str, int]:
    """Raises CliError where it is none."""
    try:
        parts = urlsplit(url)
        if parts.hostname:
            return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        pass
    raise CliError("--url is no address: write http://127.0.0.1:8000, for example")
