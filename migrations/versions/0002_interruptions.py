"""What a turn went through: cancels, crashes, pauses; and the answers kept for Idempotency-Keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("cancel_requested_at", sa.DateTime(timezone=True)))
    op.add_column("turns", sa.Column("run_after", sa.DateTime(timezone=True)))
    for name in ("crashes", "model_errors"):
        op.add_column(
            "turns", sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
        )
    op.add_column(
        "turns",
        sa.Column("worked_seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
    )
    # A turn changes its row a few times: what the sweep looks through must not fill with the dead.
    op.execute(
        "ALTER TABLE turns SET "
        "(autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000)"
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("answer", postgresql.JSONB()),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_idempotency_keys_conversation_id_conversations",
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_conversation_id", "idempotency_keys", ["conversation_id"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.execute(
        "ALTER TABLE turns RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)"
    )
    for name in ("worked_seconds", "model_errors", "crashes", "run_after", "cancel_requested_at"):
        op.drop_column("turns", name)
