"""What one reader has seen of a conversation, put together as a client would; judged as it comes.

A replay collapses: a row that changed twice is told once, with its last number. So numbers may
jump, but they never go back, and a message may come before the word of the attempt that made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.verify.invariants import Invariant
from cli.verify.sse import Event

Row = dict[str, Any]
Rows = dict[str, Row]
Note = Callable[[Invariant, str], None]

TERMINAL = frozenset({"completed", "failed", "cancelled"})
REASONS = frozenset({"lifetime", "shutdown", "unauthorized", "deleted", "slow"})


@dataclass
class History:
    """What GET shows of a conversation."""

    messages: Rows = field(default_factory=dict[str, Row])
    turns: Rows = field(default_factory=dict[str, Row])
    total_count: int = 0


class View:
    """`note` takes what must not be; `retried` are turns that may go on after their end."""

    def __init__(self, note: Note, retried: Container[str] = ()) -> None:
        self.last_id = "0"
        self.seq = 0
        self.messages: Rows = {}
        self.turns: Rows = {}
        self.texts: dict[str, str] = {}
        """Text being streamed, by its message's id."""
        self._note = note
        self._retried = retried
        self._garbled: set[str] = set()
        self._late: dict[str, str] = {}
        """Turns of which something was told after their end, until their next state is."""

    def hear(self, event: Event) -> None:
        """An event of a stream."""
        match event.name:
            case "stream.closing":
                if event.data.get("reason") not in REASONS:
                    self._note(Invariant.closing_reason, str(event.data))
            case "message.delta":
                self._hear_text(event)
            case _:
                self._hear_change(event)

    def read(self, page: Mapping[str, Any], *, since: int, limit: int) -> None:
        """A page of what changed after `since`."""
        cursor: int = page["next_since"]
        seqs = [turn["seq"] for turn in page["turns"]]
        told = len(page["messages"]) + len(seqs)
        if cursor < since or (page["has_more"] and cursor == since) or told > limit:
            facts = f"{told} of {limit} rows since {since}, next {cursor}"
            self._note(Invariant.event_order, f"a page that leads nowhere: {facts}")
        if seqs != sorted(set(seqs)) or not all(since < seq <= cursor for seq in seqs):
            self._note(Invariant.event_order, f"turns {seqs} on the page from {since} to {cursor}")
        for message in page["messages"]:
            if message["seq"] > cursor:
                self._note(Invariant.event_order, f"message {message['seq']} on a page to {cursor}")
            self._take_message(message)
        for turn in page["turns"]:
            self._take_turn(turn)
        self.seq = cursor

    def close(self) -> None:
        """Nothing more will be told."""
        for told in self._late.values():
            self._note(Invariant.over_is_over, told)

    @property
    def visible(self) -> Rows:
        """The messages as GET shows them: a call's result is where the call is."""
        shown = {key: row for key, row in self.messages.items() if row["status"] != "withdrawn"}
        results = {row["tool_call_id"]: row for row in shown.values() if row["tool_call_id"]}
        return {key: with_results(row, results) for key, row in shown.items()}

    def differences(self, history: History) -> list[str]:
        """Where it isn't what GET shows."""
        shown = self.visible
        found = [
            f"message {key}: {shown.get(key)} is not {history.messages.get(key)}"
            for key in shown.keys() | history.messages.keys()
            if shown.get(key) != history.messages.get(key)
        ]
        found += [
            f"turn {key}: {self.turns.get(key)} is not {row}"
            for key, row in history.turns.items()
            if self.turns.get(key) != row
        ]
        seen_in_history = {row["turn_id"] for row in history.messages.values()}
        found += [
            f"turn {key} is not in the history"
            for key in self.turns.keys() & seen_in_history
            if key not in history.turns
        ]
        if self.texts:
            found.append(f"text that was never committed, of {list(self.texts)}")
        return found

    def _hear_change(self, event: Event) -> None:
        seq, number = event.data["seq"], _number(event.id)
        if number != (seq, None) and number != (seq, self._in_flight):
            self._note(Invariant.event_number, f"{event.name} {seq} has the id {event.id}")
        if seq <= self.seq:
            self._note(Invariant.event_order, f"{event.name} {seq} came after {self.seq}")
            return
        self.seq, self.last_id = seq, event.id
        match event.name:
            case "turn.updated":
                if event.data["turn"]["seq"] != seq:
                    self._note(Invariant.event_number, f"turn {event.data['turn']} told at {seq}")
                self._take_turn(event.data["turn"])
            case "message.created" | "message.updated":
                message = event.data["message"]
                if event.name == "message.created" and message["id"] in self.messages:
                    self._note(Invariant.event_order, f"message {message['id']} created twice")
                self._take_message(message)
            case _:
                pass

    @property
    def _in_flight(self) -> int:
        return sum(map(len, self.texts.values()))

    def _take_message(self, message: Row) -> None:
        key, turn_id = message["id"], message["turn_id"]
        seen = self.texts.get(key, "")
        if key not in self._garbled and not message["content"].startswith(seen):
            told = f"{seen!r} was told of message {key}, {message['content']!r} was kept"
            self._note(Invariant.text_prefix, told)
        if message["role"] != "user":
            self._forget_text()
        turn = self.turns.get(turn_id)
        if turn is not None and turn["status"] in TERMINAL and message["status"] != "withdrawn":
            self._late[turn_id] = f"message {key} after the end of turn {turn_id}"
        self.messages[key] = message

    def _take_turn(self, turn: Row) -> None:
        key = turn["id"]
        before = self.turns.get(key)
        if before is not None:
            if turn["attempt"] < before["attempt"]:
                told = f"turn {key}: {turn['attempt']} after {before['attempt']}"
                self._note(Invariant.text_attempt, told)
            over = before["status"] == "completed" or (
                before["status"] in TERMINAL and key not in self._retried
            )
            if over:
                told = f"turn {key}: {turn['status']} after {before['status']}"
                self._note(Invariant.over_is_over, told)
        if turn["status"] != "queued" or turn["attempt"]:
            self._forget_text()
        self._late.pop(key, None)
        self.turns[key] = turn

    def _hear_text(self, event: Event) -> None:
        data = event.data
        key, piece = data["message_id"], data["text"]
        turn = self.turns.get(data["turn_id"])
        number = _number(event.id)
        if turn is not None and turn["status"] in TERMINAL:
            self._note(Invariant.over_is_over, f"text after the end of turn {data['turn_id']}")
        elif turn is None or turn["status"] != "running" or turn["attempt"] != data["attempt"]:
            known = turn and (turn["status"], turn["attempt"])
            told = f"text of attempt {data['attempt']} while turn {data['turn_id']} is {known}"
            self._note(Invariant.text_attempt, told)
        if key in self._garbled:
            return
        seen = self.texts.get(key, "")
        if data["offset"] != len(seen) or key in self.messages:
            told = f"message {key}: {data['offset']} after {len(seen)} characters"
            self._note(Invariant.text_offset, told)
            self._garbled.add(key)
        self.texts[key] = seen + piece
        if number[1] != data["offset"] + len(piece) or number[0] < self.seq:
            told = f"text to {data['offset'] + len(piece)} after {self.seq} has the id {event.id}"
            self._note(Invariant.event_number, told)
        self.seq, self.last_id = max(self.seq, number[0]), event.id

    def _forget_text(self) -> None:
        self.texts.clear()
        self._garbled.clear()


def with_results(message: Row, results: Mapping[str, Row]) -> Row:
    """The message with the result of each of its calls, read from the tool messages."""
    if not message["tool_calls"]:
        return message
    calls = [call | _result(results.get(call["id"])) for call in message["tool_calls"]]
    return message | {"tool_calls": calls}


def _result(done: Row | None) -> Row:
    if done is None:
        return {}
    return {
        "status": done["status"],
        "result": None if done["status"] == "running" else json.loads(done["content"]),
        "started_at": done["created_at"],
        "duration_ms": done["metadata"].get("duration_ms"),
    }


def _number(cursor: str) -> tuple[int, int | None]:
    """The parts of an id; (-1, None) if it isn't one."""
    seq, _, offset = cursor.partition(":")
    if not seq.isdecimal() or (":" in cursor and not offset.isdecimal()):
        return -1, None
    return int(seq), int(offset) if offset else None
