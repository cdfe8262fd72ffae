"""A turn remembers the trace of the request that queued it.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Null without a default: no row is rewritten, and who doesn't know the column goes on."""
    op.add_column("turns", sa.Column("traceparent", sa.Text()))


def downgrade() -> None:
    op.drop_column("turns", "traceparent")
