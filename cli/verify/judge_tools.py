"""Did every tool call come to one result, and every result to one effect?"""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import msgspec

from cli.verify import directives
from cli.verify.invariants import Invariant
from cli.verify.ledger import Ledger
from cli.verify.record import Findings, Record
from shared.store.audit import MessageRow, TurnRow


def judge_tools(record: Record, ledger: Ledger, findings: Findings) -> None:
    made: Counter[UUID] = Counter()
    for turn in record.turns.values():
        titles: list[str] = []
        for call, result in _judge_calls(turn, record, findings):
            if call["tool_name"] != directives.MAKES or result is None:
                continue
            if (task := made_task(result)) is not None:
                made[task] += 1
                titles.append(_judge_effect(task, call, record, findings))
        _judge_done(turn, titles, record, ledger, findings)
    for message in record.messages.values():
        told = f"message {message.id} of turn {message.turn_id} is {message.status}"
        findings.check(Invariant.calls_closed, message.status != "running", told)
    names = Counter(task.title for task in record.tasks.values())
    for task in record.tasks.values():
        good = made[task.id] == 1 and names[task.title] == 1
        told = f"task {task.id} {task.title!r}: {made[task.id]} results, {names[task.title]} tasks"
        findings.check(Invariant.effect_once, good, told)


def _judge_calls(
    turn: TurnRow, record: Record, findings: Findings
) -> list[tuple[dict[str, Any], MessageRow | None]]:
    """Each call of a turn with its result."""
    rows = record.messages_of[turn.id]
    calls = [(row, call) for row in rows for call in row.tool_calls or ()]
    found: list[tuple[dict[str, Any], MessageRow | None]] = []
    for asked, call in calls:
        results = [row for row in rows if row.tool_call_id == call["id"] and row.seq > asked.seq]
        told = f"call {call['id']} of turn {turn.id} ({turn.status}) has {len(results)} results"
        findings.check(Invariant.calls_closed, len(results) == 1, told)
        found.append((call, results[0] if results else None))
    known = {call["id"] for _, call in calls}
    for row in rows:
        if row.tool_call_id is not None and row.tool_call_id not in known:
            told = f"message {row.id} of turn {turn.id} is the result of no call"
            findings.check(Invariant.calls_closed, False, told)
    return found


def made_task(result: MessageRow) -> UUID | None:
    """The task a result tells of; None if it tells of an error. A withdrawn one keeps its word."""
    try:
        content = msgspec.json.decode(result.content, type=dict[str, Any])
        return None if "error" in content else UUID(content["id"])
    except (msgspec.MsgspecError, KeyError, ValueError):
        return None


def _judge_effect(task_id: UUID, call: dict[str, Any], record: Record, findings: Findings) -> str:
    """The title of what was made."""
    wanted = str(call["arguments"].get("title"))
    task = record.tasks.get(task_id)
    good = task is not None and task.title == wanted
    findings.check(Invariant.effect_once, good, f"call {call['id']} for {wanted!r} made {task}")
    return wanted


def _judge_done(
    turn: TurnRow, titles: list[str], record: Record, ledger: Ledger, findings: Findings
) -> None:
    """Where nobody interfered, what was asked for is what was done, in its order."""
    said = record.said(turn)
    if turn.status != "completed" or len(said) != 1 or str(turn.id) in ledger.retried:
        return
    wanted = directives.task_titles(said[0].content)
    told = f"turn {turn.id} made {titles}, asked for {wanted}"
    findings.check(Invariant.asked_done, titles == wanted, told)
