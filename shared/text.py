"""Text that Postgres, JSON and a model can all hold."""

from __future__ import annotations

import re

MAX_CONTENT_CHARS = 10_000
MAX_TITLE_CHARS = 200
AUTO_TITLE_CHARS = 50
PREVIEW_CHARS = 100

_HIGH = "\ud800-\udbff"
_LOW = "\udc00-\udfff"
_PAIR = re.compile(f"[{_HIGH}][{_LOW}]")
_LONE = re.compile(f"[{_HIGH}{_LOW}]")
_SPACE = re.compile(r"\s+")


def is_storable(text: str) -> bool:
    """False if the text has a NUL or a lone surrogate: Postgres takes neither."""
    return "\0" not in text and _LONE.search(text) is None


def sanitise(text: str) -> str:
    """Joins surrogate pairs, replaces lone surrogates by U+FFFD and removes NULs."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    joined = _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _LONE.sub("\ufffd", joined).replace("\0", "")


class TextSanitiser:
    """`sanitise` for text that comes in pieces: a pair may be cut between two of them."""

    def __init__(self) -> None:
        self._carry = ""

    def feed(self, piece: str) -> str:
        piece = self._carry + piece
        self._carry = ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            self._carry, piece = piece[-1], piece[:-1]
        return sanitise(piece)

    def close(self) -> str:
        rest, self._carry = sanitise(self._carry), ""
        return rest


def one_line(text: str, limit: int) -> str:
    """The first `limit` characters with white space folded: for titles and previews."""
    return _SPACE.sub(" ", text[: limit * 4]).strip()[:limit].rstrip()
