"""Messages for a script: directives to the stand-in, each like no other. Pure."""

from __future__ import annotations

import json
from random import Random

from cli.verify.directives import FAULTS, MAKES

# What counts as a character differs between languages, and between code points and UTF-16.
_PLAIN = "a and but for in is it no of on or so the to we word answer river mountain clock"
_OTHERS = "café cafe\u0301 naïve Ærø Ελλάδα Привет 你好 \U0001f600 \U0001f469\u200d\U0001f52c"
_WORDS = (*_PLAIN.split(), *_OTHERS.split(), "\n", "\n\n", "`code`", "**bold**", '"quoted"', "{}")
_PAUSES = (5, 10, 20, 40)


class Texts:
    """Those of one conversation. `name` is in every one of them."""

    def __init__(self, random: Random, name: str) -> None:
        self._random = random
        self._name = name
        self._count = 0

    def any(self) -> str:
        kind = self._random.choices(
            ("slow", "say", "call", "again", "flaky", "doomed", "refuse"),
            (33, 14, 20, 10, 18, 3, 2),
        )[0]
        match kind:
            case "say":
                return f"say {self._words()}"
            case "call":
                return self._call(self.plain())
            case "again":
                return self._again(self.plain())
            case "flaky":
                return self._flaky()
            case "doomed":
                return f"flaky 500 {self._random.randint(5, 7)} {self.plain()}"
            case "refuse":
                return f"refuse {self._words()}"
            case _:
                return self.plain()

    def plain(self) -> str:
        """An answer that takes its time."""
        return f"slow {self._random.choice(_PAUSES)} {self._words()}"

    def _flaky(self) -> str:
        """Before the first answer, or between the tools and the last."""
        fault = f"flaky {self._random.choice(FAULTS)} {self._random.choice((1, 1, 1, 2))} "
        match self._random.randrange(4):
            case 0:
                return self._call(fault + self.plain())
            case 1:
                return fault + self._call(self.plain())
            case _:
                return fault + self.plain()

    def _call(self, after: str) -> str:
        asked = [f"call {MAKES} {self._task()}" for _ in range(self._random.randint(1, 3))]
        return "\n".join([*asked, f"then {after}"])

    def _again(self, after: str) -> str:
        asked = [f"again {MAKES} {self._task()}" for _ in range(self._random.randint(2, 3))]
        return "\n".join([*asked, f"then {after}"])

    def _task(self) -> str:
        return json.dumps({"title": f"Task {self._token()}"})

    def _token(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"

    def _words(self) -> str:
        """Begins with a token of its own and ends without a space, which a model might lose."""
        count = self._random.choice((3, 8, 15, 30, 60))
        return " ".join([self._token(), *self._random.choices(_WORDS, k=count), "end."])
