"""Tickets: each opens one stream of one conversation once, within half a minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, insert, or_, select

from shared.access import Access
from shared.account_models import StreamTicket as Row_
from shared.db import Transaction
from shared.models import Conversation as ConversationRow

GOOD_FOR = timedelta(seconds=30)
FORGOTTEN_AT_ONCE = 1000


class Used(msgspec.Struct, frozen=True):
    owner: str
    expires_at: datetime | None
    """When the access of its owner expires, and not the ticket."""
    access: Access


async def add_ticket(
    tx: Transaction,
    ticket_hash: bytes,
    conversation_id: UUID,
    *,
    owner: str,
    access: Access,
    access_expires_at: datetime | None,
) -> datetime | None:
    """When the ticket expires; None if the conversation isn't the owner's. It stays until the
    transaction ends.
    """
    about = (
        select(ConversationRow.id)
        .where(
            ConversationRow.id == conversation_id,
            ConversationRow.user_id == owner,
            ConversationRow.deleted_at.is_(None),
        )
        .with_for_update(key_share=True, read=True)
    )
    if await tx.scalar(about) is None:
        return None
    expires_at: datetime = await tx.scalar(
        insert(Row_)
        .values(
            ticket_hash=ticket_hash,
            user_id=owner,
            conversation_id=conversation_id,
            session_id=access.session_id,
            browser_session=access.browser_session,
            access_expires_at=access_expires_at,
            expires_at=func.clock_timestamp() + GOOD_FOR,
        )
        .returning(Row_.expires_at)
    )
    return expires_at


async def use_ticket(tx: Transaction, ticket_hash: bytes, conversation_id: UUID) -> Used | None:
    """Of many who come with it one gets it. None for the others, and where it is no good."""
    row = await tx.first(
        delete(Row_)
        .where(
            Row_.ticket_hash == ticket_hash,
            Row_.conversation_id == conversation_id,
            Row_.expires_at > func.clock_timestamp(),
            or_(Row_.access_expires_at.is_(None), Row_.access_expires_at > func.clock_timestamp()),
        )
        .returning(Row_.user_id, Row_.access_expires_at, Row_.session_id, Row_.browser_session)
    )
    if row is None:
        return None
    owner, expires_at, *access = tuple[Any, ...](row)
    return Used(owner, expires_at, Access(*access))


async def forget_old_tickets(tx: Transaction) -> None:
    """Deletes expired ones, a bounded number of them, and waits for nobody."""
    old = (
        select(Row_.ticket_hash)
        .where(Row_.expires_at < func.clock_timestamp())
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await tx.execute(delete(Row_).where(Row_.ticket_hash.in_(old)))
