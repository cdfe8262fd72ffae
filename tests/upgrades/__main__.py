"""`make upgrade`: the previous release is replaced by this one, and comes back, under load."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cli.errors import CliError
from cli.verify.storm import StormResult
from tests.upgrades.releases import NoHistoryError, Release, previous_release, this_release
from tests.upgrades.rollout import Careful, Figures, Rollout, problems
from tests.upgrades.stage import Stage


def main() -> int:
    wanted = parsed()
    scratch = Path(tempfile.mkdtemp(prefix="parley-upgrade-", dir=wanted.data_dir)).resolve()
    began = time.monotonic()
    try:
        old, new = previous_release(scratch / "old"), this_release()
        print(f"From {old.name} (schema {old.revision}) to {new.name} (schema {new.revision})")
        stage = Stage(scratch / "stack", old, new, workers=wanted.workers, apis=wanted.apis)
        options = Careful(wanted.seed, wanted.turns, None, wanted.workers, wanted.apis)
        rollout = Rollout(stage, options, turns=wanted.turns // 4, back=True)
        result = asyncio.run(rollout.run())
    except (NoHistoryError, CliError) as error:
        print(f"{error}\nLogs, if there are any, are in {scratch}", file=sys.stderr)
        return 1
    print(report(old, result, rollout.steps.figures, time.monotonic() - began))
    for each in filter(rollout.is_of_old_end, result.violations):
        print(f"of the old release's own end, not counted: {each.detail.splitlines()[0]}")
    found = problems(rollout, result)
    if found:
        print("\n".join([*found[:20], f"Logs and database: {scratch}"]), file=sys.stderr)
        return 1
    print("no violation, no failed turn")
    shutil.rmtree(scratch, ignore_errors=True)
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make upgrade", description=__doc__)
    parser.add_argument("--turns", type=int, default=120, help="messages that a script says")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="of each release")
    parser.add_argument("--apis", type=int, default=2, help="of each release")
    parser.add_argument("--data-dir", type=Path, help="where the scratch directory is made")
    return parser.parse_args()


def report(old: Release, result: StormResult, figures: Figures, seconds: float) -> str:
    requests = ", ".join(f"{name}: {n}" for name, n in sorted(figures.requests.items()) if n)
    locks = ", ".join(f"{revision} {ms} ms" for revision, ms in figures.migrations)
    rows = {
        "took": f"{seconds:.0f} s, from {old.name}",
        "steps": "; ".join(figures.steps),
        "requests, by release and status": requests,
        "tries repeated by clients": str(result.clients["repeats"]),
        "turns, by end": ", ".join(f"{end}: {n}" for end, n in result.turns.most_common()),
        "turns, by attempts": ", ".join(f"{n}: {c}" for n, c in sorted(result.attempts.items())),
        "slowest accept of a message": f"{figures.slowest_accept:.2f} s",
        "migrations, and how long each held its locks": locks,
        "turns handed back": str(figures.handed_back),
        "slowest handover": f"{figures.slowest_handover:.2f} s",
        "checks": f"{sum(result.checked.values()):,}",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


if __name__ == "__main__":
    sys.exit(main())
