"""Taking a conversation along, whole."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Router, get
from litestar.params import QueryParameter
from litestar.response import Stream

from api import markdown
from api.deps import ConversationId, Db, Owned
from api.export import Exporter, file_name
from api.openapi import also, described, problems
from api.samples import EXPORT
from api.wire import Export
from shared.errors import InvalidRequest, NotFound
from shared.store.conversations import find_conversation

MARKDOWN = "text/markdown"
SAMPLE = "".join(
    [markdown.head(EXPORT.conversation, EXPORT.exported_at)]
    + [markdown.of_message(message) for message in EXPORT.messages]
)

Format = Annotated[
    Literal["json", "markdown"],
    QueryParameter(description="`json` for programs, `markdown` for people."),
]


@get(
    "/",
    summary="Export a conversation",
    description="The whole history as a file: conversation, messages, turns and feedback as JSON, "
    "or (`text/markdown`) what was said as quotations, with the tool calls in fenced blocks. It "
    "is what was there when it began; if the conversation is deleted meanwhile, it breaks off.",
    responses=described({200: ("The file.", Export, EXPORT)}) | problems(InvalidRequest, NotFound),
    operation_class=also(200, MARKDOWN, SAMPLE),
)
async def export(
    conversation_id: ConversationId,
    principal: Owned,
    db: Db,
    format: Format = "json",
) -> Stream:
    async with db.snapshot(principal.owner) as tx:
        found = await find_conversation(tx, conversation_id, owner=principal.owner)
    if found is None:
        raise NotFound
    exporter = Exporter(db, found, owner=principal.owner)
    if format == "markdown":
        body, media_type, ending = exporter.markdown(), MARKDOWN, "md"
    else:
        body, media_type, ending = exporter.json(), "application/json", "json"
    headers = {"Content-Disposition": f'attachment; filename="{file_name(found, ending)}"'}
    return Stream(body, media_type=media_type, headers=headers)


router = Router(
    "/api/chat/conversations/{conversation_id:uuid}/export",
    route_handlers=[export],
    tags=["conversations"],
)
