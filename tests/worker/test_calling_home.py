"""A turn talks to Postgres, Redis and the configured model, and to nobody else."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

import agents
import pytest
from agents.tracing import get_trace_provider

from tests.fixtures.turns import Desk

pytestmark = pytest.mark.anyio

spoken_to: list[str] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """Python tells its audit hooks of every look-up and every connection."""
    if event == "socket.connect":
        address: Any = arguments[1]
        spoken_to.extend([] if isinstance(address, str | bytes) else [f"{address[0]}"])
    if event == "socket.getaddrinfo":
        spoken_to.append(str(arguments[0]))


def is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def test_nobody_else_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-told")
    sys.addaudithook(note)
    turn, _ = await desk.ask('call create_task {"title": "x"}')
    get_trace_provider().force_flush()
    assert turn.status == "completed"
    assert spoken_to, "the hook hears nothing"
    assert [host for host in spoken_to if not is_here(host)] == []


def test_the_sdk_is_told_not_to_trace() -> None:
    with agents.trace("probe") as trace:
        assert trace.trace_id == "no-op"
