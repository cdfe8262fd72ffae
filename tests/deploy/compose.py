"""docker-compose.yml as Compose reads it: merged, and with its variables replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.processes import ROOT

FILE = ROOT / "docker-compose.yml"
# The innermost first: a default may have variables of its own.
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^${}]*))?\}")


def load(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Any]:
    return filled(yaml.safe_load(path.read_text()), variables)


def filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        items: dict[str, Any] = node
        return {key: filled(value, variables) for key, value in items.items()}
    if isinstance(node, list):
        found: list[Any] = node
        return [filled(value, variables) for value in found]
    return replaced(node, variables) if isinstance(node, str) else node


def replaced(text: str, variables: Mapping[str, str]) -> str:
    while (after := VARIABLE.sub(lambda m: variables.get(m[1]) or m[2] or "", text)) != text:
        text = after
    assert "${" not in text, text
    return text


def stop_seconds(name: str) -> float:
    return float(load({})["services"][name]["stop_grace_period"].removesuffix("s"))
