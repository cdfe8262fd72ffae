"""Is what clients were promised in the rows, and nothing that nobody asked for?"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from uuid import UUID

from cli.verify.invariants import Invariant
from cli.verify.ledger import Chat, Ledger, Sent
from cli.verify.record import Findings, Record
from shared.store.audit import ConversationRow


def judge_messages(record: Record, ledger: Ledger, findings: Findings) -> None:
    contents = Counter(row.content for row in record.messages.values() if row.role == "user")
    for sent in ledger.sent:
        _judge_sent(sent, record, contents[sent.text], findings)
    for chat in ledger.chats.values():
        _judge_order(chat, findings)
    _judge_uninvited(record, ledger, findings)
    for conversation in record.conversations.values():
        _judge_numbers(conversation, record, findings)


def _judge_sent(sent: Sent, record: Record, copies: int, findings: Findings) -> None:
    what = f"{sent.text[:60]!r} (key {sent.key})"
    if sent.accepted:
        row = record.messages.get(UUID(sent.message_id))
        turn = record.turns.get(UUID(sent.turn_id))
        as_sent = row is not None and (row.role, row.content, str(row.conversation_id)) == (
            "user",
            sent.text,
            sent.conversation_id,
        )
        joined = row is not None and turn is not None and row.turn_id == turn.id
        good = as_sent and joined and copies == 1
        found = f"{what}: {copies} of it, turn {turn and turn.status}, row {row}"
        findings.check(Invariant.accepted_once, good, found)
    elif sent.status:
        # An earlier request of the same key may have been accepted after the refusal.
        most = 1 if sent.uncertain else 0
        findings.check(Invariant.refused_nothing, copies <= most, f"{what}: {copies} of it")


def _judge_order(chat: Chat, findings: Findings) -> None:
    """Who was answered before the other asked is before the other."""
    for one, other in combinations(chat.accepted, 2):
        first, second = sorted((one, other), key=lambda sent: sent.began)
        if first.ended < second.began:
            good = first.seq < second.seq
            told = (
                f"{first.text[:40]!r} has {first.seq}, then {second.text[:40]!r} has {second.seq}"
            )
            findings.check(Invariant.one_at_a_time, good, told)


def _judge_uninvited(record: Record, ledger: Ledger, findings: Findings) -> None:
    said = {sent.text for sent in ledger.sent}
    for message in record.messages.values():
        if message.role == "user":
            told = f"message {message.id}: {message.content[:80]!r}"
            findings.check(Invariant.nothing_uninvited, message.content in said, told)
    for turn in record.turns.values():
        own = record.messages.get(turn.user_message_id)
        good = own is not None and own.turn_id == turn.id and own.role == "user"
        findings.check(Invariant.nothing_uninvited, good, f"turn {turn.id} belongs to {own}")
    if not ledger.counts["abandoned"]:
        for key in record.conversations:
            good = str(key) in ledger.chats
            findings.check(Invariant.nothing_uninvited, good, f"conversation {key}")


def _judge_numbers(conversation: ConversationRow, record: Record, findings: Findings) -> None:
    """A number is taken once: by one change of one row."""
    rows = [*record.messages_in[conversation.id], *record.turns_in[conversation.id]]
    taken = [(number, row.id) for row in rows for number in {row.seq, row.changed_seq}]
    if conversation.changed_seq:
        taken.append((conversation.changed_seq, conversation.id))
    numbers = Counter(number for number, _ in taken)
    for number, row_id in taken:
        good = numbers[number] == 1 and 0 < number <= conversation.last_seq
        told = (
            f"{row_id}: number {number}, taken {numbers[number]} times, of {conversation.last_seq}"
        )
        findings.check(Invariant.numbers, good, f"conversation {conversation.id}, {told}")
    for row in rows:
        told = f"{row.id}: made at {row.seq}, changed at {row.changed_seq}"
        findings.check(Invariant.numbers, row.seq <= row.changed_seq, told)
    shown = sum(message.status != "withdrawn" for message in record.messages_in[conversation.id])
    told = f"conversation {conversation.id} counts {conversation.message_count}, shows {shown}"
    findings.check(Invariant.counted, conversation.message_count == shown, told)
