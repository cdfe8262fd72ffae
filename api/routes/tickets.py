"""Tickets: for clients that follow a conversation and can't send a header."""

from __future__ import annotations

from litestar import Router, post

from api.cookies import hash_of, new_secret
from api.deps import ConversationId, Db, Owned
from api.openapi import described, problems
from api.samples import TICKET
from api.wire import Ticket
from shared.errors import InvalidRequest, NotFound, Unauthorized
from shared.store.tickets import add_ticket


@post(
    "/",
    status_code=201,
    summary="Take a ticket for a stream",
    description="For a browser's EventSource, which sends no headers: "
    "`GET …/events?ticket=…` opens one stream of this conversation, once, within 30 seconds. The "
    "stream ends when what the ticket was taken with ends. No other route takes it.",
    responses=described({201: ("The ticket.", Ticket, TICKET)})
    | problems(InvalidRequest, NotFound),
)
async def take(conversation_id: ConversationId, principal: Owned, db: Db) -> Ticket:
    if principal.expired:
        raise Unauthorized
    ticket = new_secret()
    async with db.transaction(principal.owner) as tx:
        expires_at = await add_ticket(
            tx,
            hash_of(ticket),
            conversation_id,
            owner=principal.owner,
            access=principal.access,
            access_expires_at=principal.expires_at,
        )
    if expires_at is None:
        raise NotFound
    return Ticket(ticket, expires_at)


router = Router(
    "/api/chat/conversations/{conversation_id:uuid}/tickets",
    route_handlers=[take],
    tags=["events"],
)
