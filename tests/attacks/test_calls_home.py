"""Our processes speak to Postgres, Redis and the configured model, and to nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.settings import Settings
from tests.fixtures.processes import ROOT
from tests.fixtures.service import Service

pytestmark = pytest.mark.anyio

FOREIGN = """
import asyncio, pathlib, socket, sys, uvloop
from tests.fixtures.witness import watch

watch(pathlib.Path(sys.argv[1]))

async def speak():
    try:
        await asyncio.wait_for(
            asyncio.get_running_loop().create_connection(asyncio.Protocol, "192.0.2.1", 443), 0.01
        )
    except (OSError, TimeoutError):
        pass

uvloop.run(speak())
line = socket.socket()
line.setblocking(False)
line.connect_ex(("192.0.2.2", 443))
socket.getaddrinfo("192.0.2.3", 443)
"""


def urls_of(settings: Settings) -> list[str]:
    secrets = (settings.database_url, settings.redis_url)
    urls = [*(url.get_secret_value() for url in secrets), settings.openai_base_url]
    return [url for url in urls if url]


def places_of(url: str) -> set[str]:
    """As the witness writes them."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return {parts.path}
    folders = parse_qs(parts.query).get("host", [])
    sockets = {f"{folder}/.s.PGSQL.{parts.port or 5432}" for folder in folders}
    return sockets or {f"{parts.hostname}:{parts.port}"}


def foreign(spoken_to: Iterable[str], settings: Settings) -> set[str]:
    return set(spoken_to).difference(*map(places_of, urls_of(settings)))


async def test_a_whole_chat_is_told_to_nobody_else(service: Service) -> None:
    conversation_id = await service.conversation()
    await service.say(conversation_id, 'call create_task {"title": "x"}', wait=20)
    await service.listen(conversation_id)
    settings = service.workers[0].settings
    spoken_to = {place for process in service.processes for place in process.spoken_to}
    assert foreign(spoken_to, settings) == set()
    for url in urls_of(settings):
        assert places_of(url) & spoken_to, "the witness hears nothing"


def test_whoever_calls_home_is_seen(tmp_path: Path, settings: Settings) -> None:
    book = tmp_path / "spoken_to"
    subprocess.run(
        [sys.executable, "-c", FOREIGN, book],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=True,
    )
    seen = foreign(book.read_text().splitlines(), settings)
    assert seen == {"192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"}
