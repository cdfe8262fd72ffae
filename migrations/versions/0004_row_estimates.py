"""Say whose rows may be seen so that Postgres expects to see them.

The condition means the same. Of `owner IN (user_id, …)` the planner thinks that one row in two
hundred passes, where in truth all do whose owner asks: it expected the newest ten of a list to be
found only after most of it was read, and read and sorted all of it. Of `IS NOT NULL` it thinks that
nearly all pass.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OWNER = "(SELECT current_setting('parley.owner', true))"
PASSES = f"{OWNER} IN (user_id, E'\\x01')"


def upgrade() -> None:
    _say(f"nullif({PASSES}, false) IS NOT NULL")


def downgrade() -> None:
    _say(PASSES)


def _say(condition: str) -> None:
    """On every table that has the policy."""
    tables = op.get_bind().exec_driver_sql(
        "SELECT polrelid::regclass::text FROM pg_policy WHERE polname = 'owner'"
    )
    for (table,) in tables.all():
        op.execute(f"ALTER POLICY owner ON {table} USING ({condition})")
