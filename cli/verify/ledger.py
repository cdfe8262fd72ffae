"""What clients sent, what they were answered, and what they saw that must not be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cli.verify.invariants import Invariant, Violation
from cli.verify.script import OnBusy

MAX_VIOLATIONS = 1000


@dataclass
class Sent:
    """One message a client said, however often the request had to be repeated."""

    conversation_id: str
    owner: str
    key: str
    text: str
    on_busy: OnBusy
    began: float
    """On the client's clock."""
    ended: float = 0.0
    status: int = 0
    """0: it was never answered."""
    answer: dict[str, Any] = field(default_factory=dict[str, Any])
    uncertain: int = 0
    """Requests that may have arrived though nothing came back."""

    @property
    def body(self) -> dict[str, Any]:
        """What the request says; `enqueue` is what happens without a word."""
        busy = {} if self.on_busy == "enqueue" else {"on_busy": self.on_busy}
        return {"content": self.text} | busy

    @property
    def accepted(self) -> bool:
        return self.status in {200, 202}

    @property
    def message_id(self) -> str:
        return self.answer["message"]["id"]

    @property
    def turn_id(self) -> str:
        return self.answer["turn"]["id"]

    @property
    def owns_turn(self) -> bool:
        return self.answer["turn"]["user_message_id"] == self.message_id

    @property
    def seq(self) -> int:
        return self.answer["message"]["seq"]


@dataclass
class Chat:
    """A conversation as its client knows it."""

    conversation_id: str
    owner: str
    key: str
    body: dict[str, Any]
    answer: dict[str, Any]
    """What beginning it was asked with, and answered."""
    sent: list[Sent] = field(default_factory=list[Sent])

    @property
    def accepted(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.accepted]

    @property
    def turns(self) -> list[Sent]:
        """Messages with a turn of their own: they did not steer another."""
        return [sent for sent in self.accepted if sent.owns_turn]

    @property
    def may_surprise(self) -> bool:
        """A request may still arrive that its client has given up on."""
        return any(sent.uncertain for sent in self.sent)


@dataclass
class Ledger:
    counts: Counter[str] = field(default_factory=Counter[str])
    violations: list[Violation] = field(default_factory=list[Violation])
    chats: dict[str, Chat] = field(default_factory=dict[str, Chat])
    """By the conversation's id."""
    total: int = 0
    """How many messages the script says."""
    ended: set[str] = field(default_factory=set[str])
    """Turns that a client saw in a terminal state."""
    cancel_asked: set[str] = field(default_factory=set[str])
    """Turns a client asked to cancel, whatever came of it."""
    cancel_accepted: set[str] = field(default_factory=set[str])
    """… and was answered 202, and was not had tried again since."""
    retried: set[str] = field(default_factory=set[str])
    """Turns a client asked to have tried again, whatever came of it."""

    def note(self, invariant: Invariant, detail: str) -> None:
        self.counts["violations"] += 1
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(Violation(invariant.name, detail))

    @property
    def sent(self) -> list[Sent]:
        return [sent for chat in self.chats.values() for sent in chat.sent]

    @property
    def owners(self) -> set[str]:
        return {chat.owner for chat in self.chats.values()}

    def progress(self) -> tuple[int, int]:
        """(messages that are dealt with, messages in the script)"""
        refused = sum(sent.status == 409 for sent in self.sent)
        turns = [sent for sent in self.sent if sent.accepted and sent.turn_id in self.ended]
        return refused + len(turns), self.total
