"""Whose rows they are: row-level security; and what owners have beside their conversations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SERVICE_ROLE = "parley_service"
OWNED = (
    *("conversations", "turns", "messages", "tasks", "idempotency_keys"),
    *("feedback", "approvals", "token_usage", "browser_sessions", "stream_tickets"),
)
WAITS = ("queued", "running")
WAITS_OR_ASKS = (*WAITS, "awaiting_approval")
TURN_ENDS = ("completed", "failed", "cancelled")
MESSAGE_STATES = ("completed", "running", "failed", "cancelled", "withdrawn")


def upgrade() -> None:
    _name_owners()
    _remember_requests()
    _index_words()
    _index_for_deletion()
    _allow_waiting_for_approval(WAITS_OR_ASKS)
    op.create_index(
        "ix_turns_user_id_active",
        "turns",
        ["user_id", "created_at"],
        postgresql_where=sa.text(f"status in {WAITS_OR_ASKS}"),
    )
    # Counted at every claim, beside ten thousand that wait.
    op.create_index(
        "ix_turns_user_id_running",
        "turns",
        ["user_id"],
        postgresql_where=sa.text("status = 'running'"),
    )
    _create_tables()
    _create_role()
    for table in OWNED:
        # A value that only the services set, once for each transaction: without it nothing is
        # there. \x01 is for work on behalf of nobody in particular; no owner is named so.
        owner = "(SELECT current_setting('parley.owner', true))"
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owner ON {table} USING ({owner} IN (user_id, E'\\x01'))")


def _name_owners() -> None:
    op.add_column("messages", sa.Column("user_id", sa.Text()))
    op.execute(
        "UPDATE messages SET user_id = c.user_id FROM conversations c"
        " WHERE c.id = messages.conversation_id"
    )
    op.alter_column("messages", "user_id", nullable=False)


def _remember_requests() -> None:
    op.add_column("turns", sa.Column("request_id", sa.Text()))
    op.add_column("turns", sa.Column("queued_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE turns SET queued_at = created_at")
    op.alter_column(
        "turns", "queued_at", nullable=False, server_default=sa.text("clock_timestamp()")
    )


def _index_words() -> None:
    # Postgres refuses a text of more than a megabyte of words.
    op.execute(
        "ALTER TABLE messages ADD COLUMN search tsvector GENERATED ALWAYS AS ("
        "case when role in ('user', 'assistant') then to_tsvector('simple', left(content, 100000))"
        " end) STORED"
    )
    op.create_index(
        "ix_messages_user_id_id",
        "messages",
        ["user_id", "id"],
        postgresql_where=sa.text("search is not null"),
    )


def _index_for_deletion() -> None:
    op.create_index(
        "ix_conversations_deleted_at",
        "conversations",
        ["deleted_at"],
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index("ix_messages_turn_id", "messages", ["turn_id"])


def _allow_waiting_for_approval(active: tuple[str, ...]) -> None:
    """Or, with WAITS, puts an end to it."""
    more = tuple(state for state in active if state not in WAITS)
    working = ("running", *more)
    op.drop_constraint(op.f("ck_turns_status"), "turns")
    op.create_check_constraint(op.f("ck_turns_status"), "turns", f"status in {active + TURN_ENDS}")
    op.drop_constraint(op.f("ck_messages_status"), "messages")
    op.create_check_constraint(
        op.f("ck_messages_status"), "messages", f"status in {MESSAGE_STATES + more}"
    )
    op.drop_index("ix_turns_active", "turns")
    op.create_index(
        "ix_turns_active",
        "turns",
        ["conversation_id", "seq"],
        postgresql_where=sa.text(f"status in {active}"),
    )
    op.drop_index("ix_messages_running", "messages")
    op.create_index(
        "ix_messages_running",
        "messages",
        ["turn_id"],
        postgresql_where=sa.text(
            f"status in {working}" if more else "status = 'running'",
        ),
    )


def _create_tables() -> None:
    op.create_table(
        "feedback",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("rating", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), server_default=sa.text("''"), nullable=False),
        _time("created_at", default="now()"),
        _time("updated_at", default="now()"),
        sa.CheckConstraint("rating in ('up', 'down')", name=op.f("ck_feedback_rating")),
        _references("feedback", "message_id", "messages"),
        _references("feedback", "conversation_id", "conversations"),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_feedback")),
    )
    op.create_index("ix_feedback_conversation_id", "feedback", ["conversation_id"])
    op.create_table(
        "approvals",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        _time("created_at", default="now()"),
        sa.CheckConstraint("decision in ('approve', 'deny')", name=op.f("ck_approvals_decision")),
        _references("approvals", "message_id", "messages"),
        _references("approvals", "conversation_id", "conversations"),
        _references("approvals", "turn_id", "turns"),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_approvals")),
    )
    op.create_index("ix_approvals_turn_id", "approvals", ["turn_id"])
    op.create_index("ix_approvals_conversation_id", "approvals", ["conversation_id"])
    op.create_table(
        "token_usage",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_token_usage")),
    )
    op.create_index("ix_token_usage_day", "token_usage", ["day"])
    op.create_table(
        "browser_sessions",
        sa.Column("id_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        _time("created_at", default="now()"),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_browser_sessions")),
    )
    op.create_index("ix_browser_sessions_expires_at", "browser_sessions", ["expires_at"])
    op.create_table(
        "stream_tickets",
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("browser_session", sa.LargeBinary()),
        sa.Column("access_expires_at", sa.DateTime(timezone=True)),
        _time("expires_at"),
        _references("stream_tickets", "conversation_id", "conversations"),
        sa.PrimaryKeyConstraint("ticket_hash", name=op.f("pk_stream_tickets")),
    )
    op.create_index("ix_stream_tickets_expires_at", "stream_tickets", ["expires_at"])
    op.create_index("ix_stream_tickets_conversation_id", "stream_tickets", ["conversation_id"])


def _time(name: str, *, default: str | None = None) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        server_default=sa.text(default) if default else None,
        nullable=False,
    )


def _references(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))


def _create_role() -> None:
    """Roles belong to the whole server: another database may have made it, or be making it. Whoever
    may not make one logs in as somebody for whom row-level security holds anyway.
    """
    op.execute(
        f"""
        DO $$
        BEGIN
          CREATE ROLE {SERVICE_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS;
        EXCEPTION
          WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
        END $$
        """
    )
    tables = ", ".join((*OWNED, "workers"))
    op.execute(
        f"""
        DO $$
        BEGIN
          IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE_ROLE}') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO {SERVICE_ROLE}', current_schema());
            GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {SERVICE_ROLE};
            GRANT SELECT ON alembic_version TO {SERVICE_ROLE};
          END IF;
        END $$
        """
    )


def _end_what_awaits_approval() -> None:
    """As cancelled: before it there was no such state. Its open calls get a result, so that no
    history is broken, and every change a number of its own, so that every reader sees it.
    """
    op.execute(
        """
        WITH asked AS (
          SELECT t.id FROM turns t
          WHERE t.status = 'awaiting_approval' OR t.id IN (
            SELECT m.turn_id FROM messages m WHERE m.status = 'awaiting_approval')
        ), changed AS (
          SELECT m.id, m.conversation_id, m.seq, false AS is_turn
          FROM messages m JOIN asked ON asked.id = m.turn_id
          WHERE m.status IN ('awaiting_approval', 'running')
          UNION ALL
          SELECT t.id, t.conversation_id, t.seq, true FROM turns t JOIN asked ON asked.id = t.id
        ), numbered AS (
          SELECT n.id, n.conversation_id, c.last_seq + row_number() OVER (
            PARTITION BY n.conversation_id ORDER BY n.is_turn, n.seq) AS changed_seq
          FROM changed n JOIN conversations c ON c.id = n.conversation_id
        ), closed AS (
          UPDATE messages m
          SET status = 'cancelled', changed_seq = n.changed_seq, content = CASE m.status
            WHEN 'running' THEN '{"error":{"code":"outcome_unknown",'
              '"message":"The turn ended before the tool''s result."}}'
            ELSE '{"error":{"code":"not_run",'
              '"message":"The turn ended before the call was begun."}}' END
          FROM numbered n WHERE n.id = m.id
        ), ended AS (
          UPDATE turns t
          SET status = 'cancelled', position = NULL, error = NULL, lease_owner = NULL,
            run_after = NULL, finished_at = clock_timestamp(), changed_seq = n.changed_seq
          FROM numbered n WHERE n.id = t.id
        )
        UPDATE conversations c SET last_seq = n.last_seq
        FROM (
          SELECT conversation_id, max(changed_seq) AS last_seq FROM numbered
          GROUP BY conversation_id
        ) n
        WHERE n.conversation_id = c.id
        """
    )


def downgrade() -> None:
    for table in OWNED:
        op.execute(f"DROP POLICY owner ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    _end_what_awaits_approval()
    for table in ("stream_tickets", "browser_sessions", "token_usage", "approvals", "feedback"):
        op.drop_table(table)
    op.drop_index("ix_turns_user_id_running", "turns")
    op.drop_index("ix_turns_user_id_active", "turns")
    _allow_waiting_for_approval(WAITS)
    op.drop_index("ix_messages_turn_id", "messages")
    op.drop_index("ix_conversations_deleted_at", "conversations")
    op.drop_index("ix_messages_user_id_id", "messages")
    op.drop_column("turns", "queued_at")
    op.drop_column("turns", "request_id")
    op.drop_column("messages", "search")
    op.drop_column("messages", "user_id")
