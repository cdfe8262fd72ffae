"""Did every turn end, alone, in its order, and as it had to?"""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from uuid import UUID

from cli.verify import directives
from cli.verify.invariants import Invariant
from cli.verify.ledger import Ledger
from cli.verify.record import Findings, Record
from cli.verify.view import TERMINAL
from shared.store.audit import MessageRow, TurnRow

MODEL_RETRIES = 3
"""So many passing faults of the model a turn survives."""
GIVEN_UP = frozenset({"attempts_exhausted", "turn_timeout"})


def judge_turns(record: Record, ledger: Ledger, report: dict[str, Any], findings: Findings) -> None:
    for turns in record.turns_in.values():
        _judge_order(turns, findings)
    for turn in record.turns.values():
        told = f"turn {turn.id} is {turn.status}, position {turn.position}"
        over = turn.status in TERMINAL and turn.finished_at is not None and turn.position is None
        findings.check(Invariant.ended, over, told)
        _judge_withdrawn(turn, record, ledger, findings)
        match turn.status:
            case "completed":
                _judge_answer(turn, record, findings)
                _judge_heard(turn, record, report, findings)
            case "failed":
                _judge_failure(turn, record, findings)
            case "cancelled":
                _judge_cancelled(turn, ledger, findings)
            case _:
                pass
        _judge_kept(turn, record, findings)
    for turn_id in ledger.cancel_accepted:
        turn = record.turns.get(UUID(turn_id))
        told = f"turn {turn_id} was to be cancelled and is {turn and turn.status}"
        cancelled = turn is not None and turn.status == "cancelled"
        findings.check(Invariant.cancel_holds, cancelled, told)


def _judge_order(turns: list[TurnRow], findings: Findings) -> None:
    running = [turn.id for turn in turns if turn.status == "running"]
    findings.check(Invariant.one_at_a_time, len(running) < 2, f"running at once: {running}")
    ran = [turn for turn in turns if turn.started_at is not None]
    for before, after in pairwise(ran):
        assert after.started_at is not None
        good = before.finished_at is not None and before.finished_at <= after.started_at
        told = (
            f"turn {before.id} (to {before.finished_at}) and its next, "
            f"{after.id} (from {after.started_at})"
        )
        findings.check(Invariant.one_at_a_time, good, told)


def _judge_answer(turn: TurnRow, record: Record, findings: Findings) -> None:
    """The last word answers the last message; each earlier one, a message that steered."""
    said = record.said(turn)
    answers = [
        row
        for row in record.messages_of[turn.id]
        if row.role == "assistant" and row.status == "completed" and not row.tool_calls
    ]
    wanted = [directives.final_text(row.content) for row in said]
    told = [row.content for row in answers]
    good = bool(told and wanted) and len(told) <= len(wanted)
    if good and wanted[-1] is not None:
        good = told[-1] == wanted[-1] and all(text in wanted for text in told)
    last = record.messages_of[turn.id][-1:]
    good = good and last == answers[-1:]
    findings.check(Invariant.final_answer, good, f"turn {turn.id}: {told}, asked for {wanted}")


def _judge_heard(turn: TurnRow, record: Record, report: dict[str, Any], findings: Findings) -> None:
    for row in record.said(turn):
        told = f"turn {turn.id}: the model never read {row.content[:80]!r}"
        findings.check(Invariant.steered_heard, bool(report["heard"].get(row.content)), told)


def _judge_failure(turn: TurnRow, record: Record, findings: Findings) -> None:
    code = str((turn.error or {}).get("code"))
    if code in GIVEN_UP:
        findings.checked[f"turns with {code}"] += 1
        return
    texts = [row.content for row in record.said(turn)]
    good = code.startswith("model_") and any(_may_fail(text, code) for text in texts)
    told = f"turn {turn.id}: {code} after {turn.attempt} attempts, asked {texts}"
    findings.check(Invariant.known_failures, good, told)


def _may_fail(text: str, code: str) -> bool:
    if directives.is_refused(text):
        return code == "model_refused"
    return sum(fault.tries for fault in directives.faults(text)) >= MODEL_RETRIES


def _judge_cancelled(turn: TurnRow, ledger: Ledger, findings: Findings) -> None:
    """By its own cancel, or by a message that put the conversation's head turn to an end."""
    chat = ledger.chats.get(str(turn.conversation_id))
    pushed = chat is not None and any(
        sent.on_busy in {"interrupt", "rollback"} for sent in chat.sent
    )
    asked = str(turn.id) in ledger.cancel_asked or pushed
    findings.check(Invariant.cancelled_by_asking, asked, f"turn {turn.id} is cancelled")


def _judge_withdrawn(turn: TurnRow, record: Record, ledger: Ledger, findings: Findings) -> None:
    rows = record.messages_of[turn.id]
    withdrawn = [row for row in rows if row.status == "withdrawn"]
    if not withdrawn:
        return
    chat = ledger.chats.get(str(turn.conversation_id))
    asked = chat is not None and any(sent.on_busy == "rollback" for sent in chat.sent)
    good = asked and turn.status == "cancelled" and len(withdrawn) == len(rows)
    told = f"turn {turn.id} ({turn.status}): {len(withdrawn)} of {len(rows)} messages withdrawn"
    findings.check(Invariant.withdrawn_whole, good, told)


def _judge_kept(turn: TurnRow, record: Record, findings: Findings) -> None:
    texts = [text for row in record.said(turn) for text in directives.possible_texts(row.content)]
    for row in record.messages_of[turn.id]:
        if row.role == "assistant" and not _is_answer(row):
            good = any(text.startswith(row.content) for text in ["", *texts])
            told = f"turn {turn.id} keeps {row.content!r} ({row.status}), asked for {texts}"
            findings.check(Invariant.kept_text, good, told)


def _is_answer(row: MessageRow) -> bool:
    """Judged as an answer; what is left is text that broke off, or that came before a tool."""
    return row.status == "completed" and not row.tool_calls
