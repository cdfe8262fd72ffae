"""What this machine must have: room on its disks, and files that may be open."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

from cli.doctor_findings import Finding, failure, ok, sized, warning

LOW_BYTES, LEAST_BYTES = 1024**3, 100 * 1024**2
OTHER_FILES = 200
"""What a process has open beside its streams: connections, its libraries, its log."""
FEWEST_STREAMS, MANY_STREAMS = 20, 500


def check_disk(folder: Path, *, low: int = LOW_BYTES, least: int = LEAST_BYTES) -> Finding:
    """The data directory, or where it would be made, and the directory of temporary files."""
    places = {nearest(folder), Path(tempfile.gettempdir())}
    free = {place: shutil.disk_usage(place).free for place in sorted(places)}
    said = ", ".join(f"{sized(size)} free in {place}" for place, size in free.items())
    closed = [str(place) for place in free if not os.access(place, os.W_OK)]
    if closed:
        said = f"{', '.join(closed)} can't be written"
        return failure("disk", said, "Give this account the right to write there.")
    if min(free.values()) < least:
        return failure("disk", said, "Make room: Postgres stops at a full disk.")
    if min(free.values()) < low:
        return warning("disk", said, "Make room soon.")
    return ok("disk", said)


def nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that there is."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def check_files(streams: int, limit: int | None = None) -> Finding:
    """`streams` is how many one owner may have open, 0 for any number. An API takes as many files
    as its account may have.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if limit is None else limit
    if most == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    room = max(0, most - OTHER_FILES)
    said = f"{most:,} may be open: some {room:,} event streams in one API process"
    remedy = "Raise the hard limit (`ulimit -Hn` shows it), or LimitNOFILE= of its unit."
    if room < FEWEST_STREAMS:
        return failure("open files", said, remedy)
    if room < min(streams or MANY_STREAMS, MANY_STREAMS):
        return warning("open files", said, remedy)
    return ok("open files", said)
