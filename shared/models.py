"""The tables. What a row means on the wire is in `shared/events.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_REVISION = "0005"
"""The newest migration; a process is ready only on a database that has it."""

SERVICE_ROLE = "parley_service"
"""What the services are to Postgres: row-level security holds for it."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012
        datetime: DateTime(timezone=True),
        str: Text,
        int: BigInteger,
        dict[str, Any]: JSONB(none_as_null=True),
        list[dict[str, Any]]: JSONB(none_as_null=True),
    }


class Conversation(Base):
    """An owner's thread. `last_seq` counts its changes; its row lock orders all writers."""

    __tablename__ = "conversations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    title: Mapped[str]
    named: Mapped[bool] = mapped_column(server_default=text("false"))
    """The user chose the title, so nothing else may change it."""
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    changed_seq: Mapped[int] = mapped_column(server_default=text("0"))
    message_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    last_message_preview: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_conversations_user_id_updated_at", "user_id", updated_at.desc(), id.desc()),
        Index(
            "ix_conversations_deleted_at",
            "deleted_at",
            postgresql_where=text("deleted_at is not null"),
        ),
        CheckConstraint("char_length(title) <= 200", name="title_length"),
    )


class Turn(Base):
    """One user message and all the work until its answer or failure."""

    __tablename__ = "turns"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    user_id: Mapped[str]
    user_message_id: Mapped[UUID]
    seq: Mapped[int]
    """The change that queued it: the order in which turns of a conversation run."""
    changed_seq: Mapped[int]
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    position: Mapped[int | None] = mapped_column(Integer)
    """1 for the next to run, then 2, 3, …; null once it runs."""
    model: Mapped[str | None]
    usage: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    lease_owner: Mapped[UUID | None]
    """The worker that runs it; its lease is in `workers`. Null while running: given back."""
    cancel_requested_at: Mapped[datetime | None]
    """From then on the turn can only end as cancelled."""
    run_after: Mapped[datetime | None]
    """Given back, and not to be claimed before."""
    crashes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Attempts that ended without a word: their worker's lease ran out."""
    model_errors: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Attempts that a passing fault of the model put an end to."""
    worked_seconds: Mapped[float] = mapped_column(Double, server_default=text("0"))
    """How long earlier attempts worked, as far as they could tell."""
    request_id: Mapped[str | None]
    """Of the request that queued it, so that the worker's log lines can be found by it."""
    traceparent: Mapped[str | None]
    """Of the request that queued it first: all its attempts are in that trace."""
    queued_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """When it began to wait: at first, or when it was retried."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    started_at: Mapped[datetime | None]
    first_token_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "status in ('queued', 'running', 'awaiting_approval', "
            "'completed', 'failed', 'cancelled')",
            name="status",
        ),
        CheckConstraint("(status = 'queued') = (position is not null)", name="position"),
        Index("uq_turns_conversation_id_seq", "conversation_id", "seq", unique=True),
        Index("ix_turns_conversation_id_changed_seq", "conversation_id", "changed_seq"),
        Index(
            "uq_turns_conversation_id_running",
            "conversation_id",
            unique=True,
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "ix_turns_active",
            "conversation_id",
            "seq",
            postgresql_where=text("status in ('queued', 'running', 'awaiting_approval')"),
        ),
        Index(
            "ix_turns_user_id_active",
            "user_id",
            "created_at",
            postgresql_where=text("status in ('queued', 'running', 'awaiting_approval')"),
        ),
        Index(
            "ix_turns_user_id_running",
            "user_id",
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "ix_turns_lease_owner",
            "lease_owner",
            postgresql_where=text("status = 'running'"),
        ),
    )


# Postgres refuses a text of more than a megabyte of words.
SEARCHED = (
    "case when role in ('user', 'assistant') then to_tsvector('simple', left(content, 100000)) end"
)


class Message(Base):
    """One message. `seq` never changes and orders the history; `changed_seq` moves."""

    __tablename__ = "messages"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    user_id: Mapped[str]
    turn_id: Mapped[UUID | None] = mapped_column(ForeignKey("turns.id"))
    seq: Mapped[int]
    changed_seq: Mapped[int]
    role: Mapped[str]
    content: Mapped[str]
    status: Mapped[str]
    tool_calls: Mapped[list[dict[str, Any]] | None]
    """On an assistant message, what the model asked for: [{id, tool_name, arguments}]."""
    tool_call_id: Mapped[str | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    """On a tool message: how long the tool worked; it began at `created_at`."""
    message_metadata: Mapped[dict[str, Any]] = mapped_column(
        "metadata", server_default=text("'{}'")
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """Taken under the conversation's lock, so that it follows `seq`."""
    search: Mapped[str | None] = mapped_column(TSVECTOR, Computed(SEARCHED, persisted=True))
    """The words of what people and the assistant said."""

    __table_args__ = (
        CheckConstraint("role in ('user', 'assistant', 'tool')", name="role"),
        CheckConstraint(
            "status in ('completed', 'running', 'awaiting_approval', 'failed', 'cancelled', "
            "'withdrawn')",
            name="status",
        ),
        CheckConstraint("(role = 'tool') = (tool_call_id is not null)", name="tool_call_id"),
        Index("uq_messages_conversation_id_seq", "conversation_id", "seq", unique=True),
        Index("ix_messages_conversation_id_changed_seq", "conversation_id", "changed_seq"),
        Index("ix_messages_conversation_id_created_at", "conversation_id", "created_at"),
        # The words themselves are no help to an index: row-level security comes before them.
        Index(
            "ix_messages_user_id_id",
            "user_id",
            "id",
            postgresql_where=text("search is not null"),
        ),
        # Without it the deletion of each turn reads all messages there are.
        Index("ix_messages_turn_id", "turn_id"),
        Index(
            "uq_messages_tool_call_id",
            "conversation_id",
            "tool_call_id",
            unique=True,
            postgresql_where=text("tool_call_id is not null"),
        ),
        Index(
            "ix_messages_running",
            "turn_id",
            postgresql_where=text("status in ('running', 'awaiting_approval')"),
        ),
    )


class Worker(Base):
    """A worker process and its lease: one row to renew, however many turns it runs."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime]


class Task(Base):
    """A to-do item of one owner."""

    __tablename__ = "tasks"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    status: Mapped[str] = mapped_column(server_default=text("'open'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("status in ('open', 'completed')", name="status"),
        CheckConstraint("char_length(title) between 1 and 200", name="title_length"),
        Index("ix_tasks_user_id_id", "user_id", id.desc()),
    )


class Feedback(Base):
    """What the owner thinks of an answer; at most once a message."""

    __tablename__ = "feedback"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    user_id: Mapped[str]
    rating: Mapped[str]
    comment: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("rating in ('up', 'down')", name="rating"),
        Index("ix_feedback_conversation_id", "conversation_id"),
    )


class Approval(Base):
    """The owner's word on a tool call that asked for it; written once."""

    __tablename__ = "approvals"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    """The call's tool message."""
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    turn_id: Mapped[UUID] = mapped_column(ForeignKey("turns.id"))
    user_id: Mapped[str]
    decision: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("decision in ('approve', 'deny')", name="decision"),
        Index("ix_approvals_turn_id", "turn_id"),
        Index("ix_approvals_conversation_id", "conversation_id"),
    )
