"""The next release comes in under load: first its processes, then its schema, then it is alone.

`make upgrade` does more of it, with the previous release as it was.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fixtures.servers import folder
from tests.upgrades import releases
from tests.upgrades.releases import NoHistoryError, next_release, previous_release, this_release
from tests.upgrades.rollout import Careful, Rollout, problems
from tests.upgrades.stage import Stage

pytestmark = pytest.mark.anyio

NEXT = """
import sqlalchemy as sa
from alembic import op
from migrations.locks import create_index_beside_traffic, drop_index_beside_traffic

revision, down_revision = "{next}", "{this}"


def upgrade():
    for table in ("conversations", "turns", "messages"):
        op.add_column(table, sa.Column("of_tomorrow", sa.Text()))
    create_index_beside_traffic("ix_turns_of_tomorrow", "turns", ["of_tomorrow"])


def downgrade():
    drop_index_beside_traffic("ix_turns_of_tomorrow", "turns")
    for table in ("conversations", "turns", "messages"):
        op.drop_column(table, "of_tomorrow")
"""


async def test_the_next_release_comes_in_under_load_and_nobody_loses_a_word() -> None:
    with folder() as scratch:
        this, after = this_release(), next_release(scratch / "next", NEXT)
        stage = Stage(scratch / "stack", this, after, workers=1, apis=1)
        rollout = Rollout(stage, Careful(1, 5, None, 1, 1), turns=1, back=False)
        result = await rollout.run()
        assert not result.violations
        assert not problems(rollout, result)
        assert [revision for revision, _ in rollout.steps.figures.migrations] == [after.revision]
        assert rollout.steps.figures.requests["new 503"] > 0
        assert len(rollout.steps.figures.steps) == 4


def test_a_shallow_clone_is_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    (tmp_path / "migrations").symlink_to(releases.ROOT / "migrations")
    monkeypatch.setattr(releases, "ROOT", tmp_path)
    with pytest.raises(NoHistoryError, match="git fetch --unshallow"):
        previous_release(tmp_path / "old")
