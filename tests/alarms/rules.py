"""The rules of `deploy/observability/alerts.yml`, and a copy that doesn't take minutes to fire."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "deploy/observability/alerts.yml"
CASES = Path(__file__).parent / "alerts_test.yml"
TIMES_FASTER = 15
"""Minutes become seconds. Only `for` and ranges; what is compared stays as it is."""

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_RANGE = re.compile(r"\[(\d+)([smh])\]")


def alerts() -> list[dict[str, Any]]:
    """Every alert as it is written."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def faster(duration: str) -> str:
    """`5m` becomes `20000ms`."""
    return f"{int(duration[:-1]) * _SECONDS[duration[-1]] * 1000 // TIMES_FASTER}ms"


def hurried(expression: str) -> str:
    """A query whose ranges are as much shorter."""
    return _RANGE.sub(lambda found: f"[{faster(found[1] + found[2])}]", expression)


def write_hurried(path: Path) -> None:
    rules = [
        rule
        | {"expr": hurried(rule["expr"])}
        | ({"for": faster(rule["for"])} if "for" in rule else {})
        for rule in alerts()
    ]
    path.write_text(yaml.safe_dump({"groups": [{"name": "hurried", "rules": rules}]}))


def check(promtool: Path) -> str:
    """What promtool says of the rules and of their cases. Raises CalledProcessError."""
    said = ""
    for arguments in (("check", "rules", str(ALERTS)), ("test", "rules", str(CASES))):
        done = subprocess.run(
            [str(promtool), *arguments], capture_output=True, text=True, check=False
        )
        said += done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(said)
    return said
