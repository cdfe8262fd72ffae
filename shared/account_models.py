"""The tables of what an owner has beside conversations: keys, sessions, tickets, tokens used."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.models import Base


class IdempotencyKey(Base):
    """What was answered to a request that carried an Idempotency-Key, for a day."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    conversation_id: Mapped[UUID | None] = mapped_column(ForeignKey("conversations.id"))
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (
        Index("ix_idempotency_keys_created_at", "created_at"),
        Index("ix_idempotency_keys_conversation_id", "conversation_id"),
    )


class TokenUsage(Base):
    """What an owner's turns have used of the models on a day (UTC)."""

    __tablename__ = "token_usage"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    tokens: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (Index("ix_token_usage_day", "day"),)


class BrowserSession(Base):
    """A bearer token exchanged for a cookie. Of the cookie only a hash is known."""

    __tablename__ = "browser_sessions"

    id_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str]
    session_id: Mapped[str | None]
    """Of the session it was made from, in the other application's table."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_browser_sessions_expires_at", "expires_at"),)


class StreamTicket(Base):
    """Opens one event stream, once. Of the ticket only a hash is known."""

    __tablename__ = "stream_tickets"

    ticket_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str]
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    session_id: Mapped[str | None]
    browser_session: Mapped[bytes | None] = mapped_column(LargeBinary)
    access_expires_at: Mapped[datetime | None]
    """When the token expires that the ticket was given for."""
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_stream_tickets_expires_at", "expires_at"),
        Index("ix_stream_tickets_conversation_id", "conversation_id"),
    )
