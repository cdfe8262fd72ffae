"""Clients that speak HTTP by hand, so that they can misbehave."""

from __future__ import annotations

import resource
from collections.abc import Mapping

import pytest


def get_request(path: str, headers: Mapping[str, str]) -> bytes:
    return request("GET", path, headers)


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: parley.test"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def expect_open_files(count: int) -> None:
    """Skips where this account may not open as many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count * 2:
        pytest.skip(f"only {hard} files may be open here")
