"""The built page, in memory: what `make web` left in a folder, and nothing else on the disk."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
}
NOT_BUILT = b"""<!doctype html><html lang="en">
<head><meta charset="utf-8"><title>Parley</title></head>
<body><h1>Parley</h1><p>The service runs; its page is not built: <code>make web</code> does it, then
start again.</p><p>All routes are at <a href="/schema">/schema</a>.</p></body></html>
"""


@dataclass(frozen=True)
class WebFile:
    content: bytes
    media_type: str

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.content, 9, mtime=0)

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


class WebFiles:
    """Read once, so no path of a request ever touches the disk."""

    def __init__(self, folder: Path = PAGE) -> None:
        self._found = {
            path.relative_to(folder).as_posix(): WebFile(path.read_bytes(), media_type)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (media_type := MEDIA_TYPES.get(path.suffix))
        }

    @property
    def index(self) -> WebFile:
        return self._found.get(INDEX) or WebFile(NOT_BUILT, MEDIA_TYPES[".html"])

    def find(self, name: str) -> WebFile | None:
        return self._found.get(name)
