"""What `worker.probe` and `api.probe` tell `parley doctor`, which can load neither's libraries."""

from __future__ import annotations

import msgspec


class Probed(msgspec.Struct, omit_defaults=True):
    """In one line of JSON on its standard output."""

    problems: list[str] = []
    """Settings that such a process would refuse to start with; then nothing else is said."""
    model: str = ""
    at: str = ""
    """The provider's host."""
    kind: str = "provider"
    """Or `echo` or `demo`."""
    error: str = ""
    """As a turn would fail (`worker/failures.py`)."""
    status: int = 0
    """The provider's, where it wasn't 200."""
    pieces: int = 0
    """In so many the text came."""
    first_seconds: float = 0.0
    """Until the first of them."""
    seconds: float = 0.0
    """Until the last of them."""
