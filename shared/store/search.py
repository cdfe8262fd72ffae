"""Finding words in what an owner and the assistant have said.

Row-level security comes before the words, so no index of words can help: the newest messages of
the owner are gone through, and it is said how many they are.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Row, text

from shared.db import Transaction

CONSIDERED = 20_000
"""Older messages of an owner are not found."""
RANKED = 2_000
"""Of the messages that match, so many of the newest: to rank them is the dearest part."""
HEADLINE_CHARS = 20_000
"""The snippet of a longer message is looked for in its beginning."""
# Private characters of Unicode: taken out of the text before they are put in as marks.
MARK, UNMARK = "\ue000", "\ue001"
MARKED = f"StartSel={MARK}, StopSel={UNMARK}"
WHOLE = f"{MARKED}, HighlightAll=true"
CUT = f'{MARKED}, MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=2, FragmentDelimiter=" … "'
WHOLE_CHARS = 150
"""A message that is no longer is its own snippet."""

# Postgres passes over these, and takes each dash behind one for a "not". It gives up on a few dozen
# within each other: only the one that begins a word is meant so.
_GAP = r"[\s!&|<()]"
_LOOSE_DASHES = re.compile(rf"-{{2,}}|-(?={_GAP}|\Z)")
_LAST_WORD = re.compile(r"\S+\Z")
_OPERATOR = re.compile(rf'"|(?:\A|{_GAP})-|(?:\A|\s)or(?:\s|\Z)', re.IGNORECASE)


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


# For a plain join Postgres would sort all messages of the owner; with a LIMIT within it goes along
# the index from the newest and stops.
SEARCH = text(
    f"""
    WITH asked AS MATERIALIZED (
      SELECT CASE WHEN :prefix = '' THEN websearch_to_tsquery('simple', :said)
        ELSE websearch_to_tsquery('simple', :said)
          || (websearch_to_tsquery('simple', :head) && to_tsquery('simple', :prefix)) END AS query
    ), newest AS (
      SELECT m.id, m.search, c.title
      FROM messages m, LATERAL (
        SELECT title FROM conversations
        WHERE id = m.conversation_id AND user_id = :owner AND deleted_at IS NULL LIMIT 1
      ) AS c
      WHERE m.user_id = :owner AND m.search IS NOT NULL AND m.status <> 'withdrawn'
      ORDER BY m.id DESC LIMIT {CONSIDERED}
    ), matching AS MATERIALIZED (
      SELECT newest.* FROM newest, asked WHERE search @@ query ORDER BY id DESC LIMIT {RANKED}
    ), found AS MATERIALIZED (
      SELECT id, title, ts_rank_cd(search, query) AS rank FROM matching, asked
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
    said = _LOOSE_DASHES.sub(" ", said)
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

    Whoever still types has not ended the word, which reaches back to the last white space: what is
    one word, as an address is, Postgres knows better. Where something is quoted, excluded or an
    alternative, every word counts as it is: then there is no prefix.
    """
    word = _LAST_WORD.search(said)
    if word is None or not _may_go_on(word[0]) or _OPERATOR.search(said):
        return said, ""
    quoted = word[0].replace("\\", "\\\\").replace("'", "''")
    return said[: word.start()], f"'{quoted}':*"


def _may_go_on(word: str) -> bool:
    """It ends with a letter, a digit or what combines with one: no sign has ended it."""
    return word[-1] == "_" or unicodedata.category(word[-1])[0] in "LMN"


def pieces(headline: str) -> list[Piece]:
    """The headline without its marks."""
    found: list[Piece] = []
    for index, part in enumerate(re.split(f"[{MARK}{UNMARK}]", headline)):
        if part:
            found.append(Piece(part, match=index % 2 == 1))
    return found
