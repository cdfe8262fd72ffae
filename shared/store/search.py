"""Finding words in what an owner and the assistant have said.

Row-level security comes before the words, so no index of words can help: the newest messages of
the owner are gone through, and it is said how many they are.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Row, text

from shared.db import Transaction

CONSIDERED = 20_000
"""Older messages of an owner are not found."""
HEADLINE_CHARS = 20_000
"""The snippet of a longer message is looked for in its beginning."""
# Private characters of Unicode: taken out of the text before they are put in as marks.
MARK, UNMARK = "\ue000", "\ue001"
MARKED = f"StartSel={MARK}, StopSel={UNMARK}"
WHOLE = f"{MARKED}, HighlightAll=true"
CUT = f'{MARKED}, MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=2, FragmentDelimiter=" … "'
WHOLE_CHARS = 150
"""A message that is no longer is its own snippet."""

# Postgres takes each for a "not", and gives up on a few dozen of them within each other.
_DASHES = re.compile(r"-[\W_]*-")
_LAST_WORD = re.compile(r"\w+\Z")
_OPERATOR = re.compile(r'"|(?:\A|\s)-|(?:\A|\s)or(?:\s|\Z)', re.IGNORECASE)


class Piece(msgspec.Struct, frozen=True):
    """Plain text of a snippet, and whether it is what was looked for."""

    text: str
    match: bool


class SearchResult(msgspec.Struct, frozen=True):
    conversation_id: UUID
    conversation_title: str
    message_id: UUID
    seq: int
    role: Literal["user", "assistant"]
    created_at: datetime
    rank: float
    snippet: list[Piece]


SEARCH = text(
    f"""
    WITH asked AS MATERIALIZED (
      SELECT CASE WHEN :prefix = '' THEN websearch_to_tsquery('simple', :said)
        ELSE websearch_to_tsquery('simple', :said)
          || (websearch_to_tsquery('simple', :head) && to_tsquery('simple', :prefix)) END AS query
    ), found AS MATERIALIZED (
      SELECT newest.*, c.title, ts_rank_cd(newest.search, query) AS rank
      FROM asked, (
        SELECT id, conversation_id, search FROM messages
        WHERE user_id = :owner AND search IS NOT NULL AND status <> 'withdrawn'
        ORDER BY id DESC LIMIT {CONSIDERED}
      ) AS newest
      JOIN conversations c ON c.id = newest.conversation_id
      WHERE c.user_id = :owner AND c.deleted_at IS NULL AND newest.search @@ query
    ), page AS MATERIALIZED (
      SELECT * FROM found
      WHERE CAST(:rank AS real) IS NULL OR (rank, id) < (CAST(:rank AS real), CAST(:id AS uuid))
      ORDER BY rank DESC, id DESC LIMIT :limit
    )
    SELECT m.conversation_id, page.title, m.id, m.seq, m.role, m.created_at, page.rank,
      ts_headline('simple', translate(left(m.content, {HEADLINE_CHARS}), :marks, ''), query,
        CASE WHEN char_length(m.content) <= {WHOLE_CHARS} THEN :whole ELSE :cut END) AS headline
    FROM page JOIN messages m ON m.id = page.id, asked
    ORDER BY page.rank DESC, page.id DESC
    """  # noqa: S608 - our own numbers
)


async def search_messages(
    tx: Transaction,
    said: str,
    *,
    owner: str,
    limit: int,
    after: tuple[float, UUID] | None = None,
) -> list[SearchResult]:
    """The best first, of equals the newest; from just behind `after`. One more than `limit` if
    there is. Nothing is found by no words at all.
    """
    said = _DASHES.sub(" ", said)
    head, prefix = cut_last_word(said)
    rank, message_id = after or (None, None)
    values: dict[str, Any] = {
        "owner": owner,
        "said": said,
        "head": head,
        "prefix": prefix,
        "rank": rank,
        "id": message_id,
        "limit": limit + 1,
        "marks": MARK + UNMARK,
        "whole": WHOLE,
        "cut": CUT,
    }
    return [_result(row) for row in await tx.all(SEARCH, values)]


def _result(row: Row[Any]) -> SearchResult:
    return SearchResult(
        conversation_id=row.conversation_id,
        conversation_title=row.title,
        message_id=row.id,
        seq=row.seq,
        role=row.role,
        created_at=row.created_at,
        rank=row.rank,
        snippet=pieces(row.headline),
    )


def cut_last_word(said: str) -> tuple[str, str]:
    """(what stands before it, the last word as a prefix that Postgres can read).

    Whoever still types has not ended the word. Where something is quoted, excluded or an
    alternative, every word counts as it is: then there is no prefix.
    """
    word = _LAST_WORD.search(said)
    if word is None or _OPERATOR.search(said):
        return said, ""
    return said[: word.start()], f"{word[0]}:*"


def pieces(headline: str) -> list[Piece]:
    """The headline without its marks."""
    found: list[Piece] = []
    for index, part in enumerate(re.split(f"[{MARK}{UNMARK}]", headline)):
        if part:
            found.append(Piece(part, match=index % 2 == 1))
    return found
