"""What somebody's right to be here hangs on, beside a time that runs out."""

from __future__ import annotations

import msgspec


class Access(msgspec.Struct, frozen=True):
    """Where one of these is named it has to exist, or the right is lost."""

    session_id: str | None = None
    """A session of the application whose table we read."""
    browser_session: bytes | None = None
    """A session of ours: the hash of its id, as the row has it."""
