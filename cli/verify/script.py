"""What the clients of a proof will do, all of it from a seed. Pure: the same seed, the same script.

Only what clients *mean* to do is here. When a connection breaks, and what is tried again, is up
to the storm.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import msgspec

from cli.verify.directives import faultless
from cli.verify.texts import Texts

OnBusy = Literal["enqueue", "reject", "interrupt", "rollback", "steer"]

_MODES: tuple[OnBusy, ...] = ("enqueue", "reject", "interrupt", "rollback", "steer")
_WEIGHTS = (55, 10, 12, 10, 13)


@dataclass(frozen=True)
class Features:
    """What the script may make use of."""

    on_busy: bool = True
    keys: bool = True
    cancel: bool = True
    retry: bool = True
    faults: bool = True


ALL = Features()


@dataclass(frozen=True)
class Say:
    """One message. Its text is a directive to the stand-in, and like no other."""

    text: str
    on_busy: OnBusy = "enqueue"
    after: float = 0.0
    """Seconds to wait first: what disturbs a turn does so in the middle of its work."""
    doubled: bool = False
    """The same request twice at once, to different APIs."""
    cancel_after: float | None = None
    """Seconds after it was accepted."""
    cancel_twice: bool = False


@dataclass(frozen=True)
class Step:
    """Messages sent without waiting for an answer."""

    says: tuple[Say, ...]
    together: bool = False
    """All at once instead of one after the other."""
    settle: bool = True
    """Wait until every turn has ended."""
    retry: bool = False
    """Then, if the last turn failed or was cancelled, have it tried again."""
    pause: float = 0.0
    """Seconds before."""


@dataclass(frozen=True)
class Listener:
    """A reader of a conversation, from its first change on."""

    kind: Literal["stream", "poll"]
    seed: int
    late: float
    """Seconds until it comes."""
    drop: float
    """How likely it goes away at each piece it reads."""
    limit: int
    wait: float


@dataclass(frozen=True)
class Talk:
    """One conversation."""

    name: str
    owner: str
    titled: bool
    steps: tuple[Step, ...]
    listeners: tuple[Listener, ...]


@dataclass(frozen=True)
class Script:
    seed: int
    features: Features
    talks: tuple[Talk, ...]

    @staticmethod
    def of(seed: int, turns: int, features: Features = ALL) -> Script:
        """About an eighth as many conversations as turns; exactly so many messages."""
        random = Random(seed)  # noqa: S311
        owners = [f"storm-{seed}-{number}" for number in range(max(2, turns // 24))]
        talks: list[Talk] = []
        left = turns
        while left:
            says = min(left, random.randint(4, 12))
            left -= says
            talks.append(_talk(random, f"{seed}-{len(talks)}", random.choice(owners), says))
        return Script(seed, features, tuple(_without(talk, features) for talk in talks))

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(sorted({talk.owner for talk in self.talks}))

    @property
    def says(self) -> list[Say]:
        return [say for talk in self.talks for step in talk.steps for say in step.says]

    @property
    def turns(self) -> int:
        """How many messages are said; each is a turn unless it is refused or steers one."""
        return len(self.says)

    @property
    def hash(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def _talk(random: Random, name: str, owner: str, says: int) -> Talk:
    texts = Texts(random, name)
    steps: list[Step] = []
    while says:
        count = min(says, random.choice((1, 1, 1, 2, 2, 3, 4)))
        says -= count
        steps.append(_step(random, texts, count, last=not says))
    listeners = tuple(_listener(random, kind) for kind in _readers(random))
    return Talk(name, owner, random.random() < 0.2, tuple(steps), listeners)


def _step(random: Random, texts: Texts, count: int, *, last: bool) -> Step:
    settle = last or random.random() < 0.75
    retry = settle and random.random() < 0.6
    said = [_say(random, texts) for _ in range(count)]
    if retry and random.random() < 0.35:
        said[-1] = _cancelled(random, said[-1])  # or there would be little to try again
    return Step(
        tuple(said),
        together=count > 1 and random.random() < 0.3,
        settle=settle,
        retry=retry,
        pause=round(random.choice((0.0, random.uniform(0, 0.4), random.uniform(0, 2.0))), 3),
    )


def _say(random: Random, texts: Texts) -> Say:
    mode = random.choices(_MODES, _WEIGHTS)[0]
    later = mode != "enqueue" and random.random() < 0.7
    said = Say(
        texts.plain() if mode == "steer" else texts.any(),
        on_busy=mode,
        after=round(random.uniform(0.05, 0.9), 3) if later else 0.0,
        doubled=random.random() < 0.15,
    )
    return _cancelled(random, said) if random.random() < 0.1 else said


def _cancelled(random: Random, say: Say) -> Say:
    after = round(random.uniform(0, 1.2), 3)
    return replace(say, cancel_after=after, cancel_twice=random.random() < 0.4)


def _readers(random: Random) -> list[Literal["stream", "poll"]]:
    return ["stream", *random.choice((["stream"], ["poll"], ["stream", "poll"], []))]


def _listener(random: Random, kind: Literal["stream", "poll"]) -> Listener:
    return Listener(
        kind,
        seed=random.getrandbits(32),
        late=random.choice((0.0, 0.0, round(random.uniform(0, 3), 3))),
        drop=random.choice((0.0, 0.02, 0.1, 0.3)),
        limit=random.choice((1, 2, 5, 20)),
        wait=random.choice((0.0, 2.0, 10.0)),
    )


def _without(talk: Talk, features: Features) -> Talk:
    """The same talk, of what may be used."""
    steps = tuple(
        replace(
            step,
            retry=step.retry and features.retry,
            says=tuple(_say_without(say, features) for say in step.says),
        )
        for step in talk.steps
    )
    return replace(talk, steps=steps)


def _say_without(say: Say, features: Features) -> Say:
    return replace(
        say,
        text=say.text if features.faults else faultless(say.text),
        on_busy=say.on_busy if features.on_busy else "enqueue",
        doubled=say.doubled and features.keys,
        cancel_after=say.cancel_after if features.cancel else None,
    )
