"""Finding what was said, in all of an owner's conversations."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from api.cursors import parse_search_cursor, search_cursor
from api.deps import Db, Owned
from api.openapi import described, problems
from api.routes.conversations import After
from api.samples import SEARCH_RESULTS
from api.wire import SearchResults
from shared.db import SEARCH_SECONDS
from shared.errors import FieldError, InvalidCursor, InvalidRequest
from shared.store.search import CONSIDERED, RANKED, search_messages
from shared.text import is_storable

MAX_CHARS = 200
DEFAULT_LIMIT = 20
MAX_LIMIT = 50

Said = Annotated[
    str,
    QueryParameter(
        min_length=1,
        max_length=MAX_CHARS,
        description='What to look for: words, "a phrase", `or`, and `-` before what must be '
        "missing. The last word may be the beginning of one.",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]


@get(
    "/",
    summary="Search the messages",
    description="Of what you and the assistant said, not of tools and not of what was deleted: "
    "the best match first, of equals the newest. Words count as they are written, in upper or "
    "lower case. A snippet is a list of pieces of plain text, those that match are marked; it "
    f"is no HTML. Your newest {CONSIDERED:,} messages are looked through, and of those that match "
    f"the newest {RANKED:,} are ranked. One search of yours runs at a time. One that waits for "
    f"too long, or takes more than {SEARCH_SECONDS} seconds, ends with 503 `unavailable`.",
    responses=described({200: ("A page of them.", SearchResults, SEARCH_RESULTS)})
    | problems(InvalidRequest, InvalidCursor),
)
async def search(
    principal: Owned, db: Db, q: Said, limit: Limit = DEFAULT_LIMIT, cursor: After = None
) -> SearchResults:
    if not is_storable(q):
        raise InvalidRequest(errors=[FieldError("q", "Contains NUL or half of a surrogate pair")])
    after = parse_search_cursor(cursor) if cursor is not None else None
    async with db.search(principal.owner) as tx:
        found = await search_messages(tx, q, owner=principal.owner, limit=limit, after=after)
    page = found[:limit]
    return SearchResults(page, search_cursor(page[-1]) if len(found) > limit else None)


router = Router("/api/chat/search", route_handlers=[search], tags=["search"])
