"""The rows of a proof's owners, sorted for judging, and what judging them has found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from cli.verify.invariants import Invariant, Violation
from shared.connection import EVERYONE
from shared.db import Database
from shared.store import audit
from shared.store.audit import ConversationRow, MessageRow, TaskRow, TurnRow

MAX_NOTED = 50
"""Of one invariant: one broken rule makes many rows wrong."""

T = TypeVar("T")


class Record:
    def __init__(
        self,
        conversations: Sequence[ConversationRow],
        turns: Sequence[TurnRow],
        messages: Sequence[MessageRow],
        tasks: Sequence[TaskRow],
    ) -> None:
        self.conversations = {row.id: row for row in conversations}
        self.turns = {row.id: row for row in turns}
        self.messages = {row.id: row for row in messages}
        self.tasks = {row.id: row for row in tasks}
        self.turns_in = grouped(turns, lambda row: row.conversation_id)
        self.messages_in = grouped(messages, lambda row: row.conversation_id)
        self.messages_of = grouped(messages, lambda row: row.turn_id)

    def said(self, turn: TurnRow) -> list[MessageRow]:
        """What its user said to a turn: its own message, and those that steered it."""
        return [row for row in self.messages_of[turn.id] if row.role == "user"]


async def read_record(db: Database, owners: Iterable[str]) -> Record:
    given = sorted(owners)
    async with db.snapshot(EVERYONE) as tx:
        return Record(
            await audit.conversations_of(tx, given),
            await audit.turns_of(tx, given),
            await audit.messages_of(tx, given),
            await audit.tasks_of(tx, given),
        )


class Findings:
    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

    def check(self, invariant: Invariant, good: bool, detail: str) -> None:
        """One thing looked at."""
        self.checked[invariant.name] += 1
        if not good:
            self._noted[invariant.name] += 1
            if self._noted[invariant.name] <= MAX_NOTED:
                self.violations.append(Violation(invariant.name, detail))


def grouped(rows: Iterable[T], by: Callable[[T], UUID | None]) -> defaultdict[UUID | None, list[T]]:
    found: defaultdict[UUID | None, list[T]] = defaultdict(list)
    for row in rows:
        found[by(row)].append(row)
    return found
