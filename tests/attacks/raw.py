"""Requests as no client library would write them, to a real server."""

from __future__ import annotations

import asyncio

from tests.fixtures.processes import Process

SECONDS = 10.0


async def send(api: Process, *requests: bytes) -> bytes:
    """All that comes back until the server closes the connection, or until nothing more does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.settings.parley_port)
    try:
        writer.write(b"".join(requests))
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    finally:
        writer.close()


async def get(api: Process, target: str, *headers: str, method: str = "GET") -> tuple[int, bytes]:
    """The status and the body; the target stands in the request line as it is given."""
    lines = [f"{method} {target} HTTP/1.1", "Host: parley.test", "Connection: close", *headers]
    raw = await send(api, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def statuses(raw: bytes) -> list[int]:
    return [int(part.split()[0]) for part in raw.split(b"HTTP/1.1 ")[1:]]
