"""Reads a Dockerfile, and what `.dockerignore` leaves of the folder that the builder gets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = re.compile(r"\$\{?(\w+)\}?")
ASSIGNMENT = re.compile(r'(\w+)=("[^"]*"|\S+)')


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str

    @property
    def argv(self) -> list[str]:
        """Of an instruction in its JSON form."""
        found: list[str] = json.loads(self.rest)
        return found

    def assignments(self) -> dict[str, str]:
        return {name: value.strip('"') for name, value in ASSIGNMENT.findall(self.rest)}


def read(path: Path) -> list[Instruction]:
    """Comments within an instruction are none of it, as Docker has it."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in whole.splitlines() if line.strip()]


def filled(text: str, values: dict[str, str]) -> str:
    """With `$NAME` and `${NAME}` replaced. Raises KeyError for what nobody has set."""
    return VARIABLE.sub(lambda found: values[found[1]], text)


class Context:
    """The folder that is sent to the builder, without what `.dockerignore` names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lines = (root / ".dockerignore").read_text().splitlines()
        rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(pattern(rule.removeprefix("!")), rule[0] == "!") for rule in rules]

    def files(self, source: str) -> Iterator[Path]:
        """All files at or below `source`, relative to the root."""
        place = self.root / source
        if not self.sends(place):
            return
        if not place.is_dir():
            yield place.relative_to(self.root)
            return
        for child in sorted(place.iterdir()):
            yield from self.files(str(child.relative_to(self.root)))

    def sends(self, path: Path) -> bool:
        """The last rule that fits it, or a folder around it, decides."""
        name = str(path.relative_to(self.root))
        fitting = [kept for rule, kept in self._rules if rule.match(name)]
        return fitting[-1] if fitting else True


def pattern(rule: str) -> re.Pattern[str]:
    text = re.escape(rule).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(f"{text}(?:/.*)?$")
