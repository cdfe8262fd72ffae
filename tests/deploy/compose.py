"""docker-compose.yml as Compose reads it: merged, and with its variables replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from shared.settings import Settings
from tests.fixtures.processes import ROOT

FILE = ROOT / "docker-compose.yml"
# The innermost first: a default may have variables of its own.
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^${}]*))?\}")


def load(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Any]:
    return filled(yaml.safe_load(path.read_text()), variables)


def filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        items = cast("dict[str, Any]", node).items()
        return {key: filled(value, variables) for key, value in items}
    if isinstance(node, list):
        return [filled(value, variables) for value in cast("list[Any]", node)]
    return replaced(node, variables) if isinstance(node, str) else node


def replaced(text: str, variables: Mapping[str, str]) -> str:
    while (after := VARIABLE.sub(lambda m: variables.get(m[1]) or m[2] or "", text)) != text:
        text = after
    assert "${" not in text, text
    return text


def constant(file: str, name: str) -> float:
    """Read and not imported: a process' entry changes the interpreter that it is loaded in."""
    found = re.search(rf"^{name} = ([\d.]+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert found is not None, f"{name} is not in {file}"
    return float(found[1])


GRACE_SECONDS = constant("api/main.py", "GRACE_SECONDS")
SETTLE_SECONDS = constant("worker/main.py", "SETTLE_SECONDS")
DRAIN_SECONDS: float = Settings.model_fields["parley_drain_seconds"].default


def stop_seconds(name: str) -> float:
    return float(load({})["services"][name]["stop_grace_period"].removesuffix("s"))
