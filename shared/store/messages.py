"""Messages: the history, which is also the checkpoint of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Row, bindparam, insert, select

from shared.db import Transaction
from shared.events import (
    OPEN_CALL,
    Change,
    Message,
    MessageCreated,
    MessageRole,
    MessageStatus,
    MessageUpdated,
    ToolCall,
)
from shared.ids import new_id
from shared.models import Conversation as ConversationRow
from shared.models import Message as Row_
from shared.statement import Statement

MESSAGE_COLUMNS = (
    Row_.id,
    Row_.conversation_id,
    Row_.turn_id,
    Row_.seq,
    Row_.changed_seq,
    Row_.role,
    Row_.content,
    Row_.status,
    Row_.tool_calls,
    Row_.tool_call_id,
    Row_.duration_ms,
    Row_.message_metadata.label("metadata"),
    Row_.created_at,
)
_in_conversation = Row_.conversation_id == bindparam("conversation_id")
_shown = Row_.status != "withdrawn"
_limit = bindparam("limit", type_=Integer)

_ADD = Statement(
    insert(Row_)
    .values(
        id=bindparam("id"),
        conversation_id=bindparam("conversation_id"),
        user_id=select(ConversationRow.user_id)
        .where(ConversationRow.id == bindparam("conversation_id"))
        .scalar_subquery(),
        turn_id=bindparam("turn_id"),
        seq=bindparam("seq"),
        changed_seq=bindparam("seq"),
        role=bindparam("role"),
        content=bindparam("content"),
        status=bindparam("status"),
        tool_calls=bindparam("tool_calls"),
        tool_call_id=bindparam("tool_call_id"),
        message_metadata=bindparam("metadata"),
    )
    .returning(*MESSAGE_COLUMNS)
)
_CHANGED_AFTER = Statement(
    select(*MESSAGE_COLUMNS)
    .where(_in_conversation, Row_.changed_seq > bindparam("since"))
    .order_by(Row_.changed_seq)
    .limit(_limit)
)
_NEWEST = Statement(
    select(*MESSAGE_COLUMNS)
    .where(_in_conversation, _shown, Row_.seq < bindparam("before"))
    .order_by(Row_.seq.desc())
    .limit(_limit)
)
_AT = Statement(
    select(Row_.seq)
    .where(_in_conversation, Row_.created_at <= bindparam("time"))
    .order_by(Row_.created_at.desc(), Row_.seq.desc())
    .limit(1)
)
NO_SEQ_IS_AS_HIGH = 2**62


APPROVAL = "approval"
"""In the metadata of a tool message whose call asked for it: awaited, approve or deny."""
STARTED_AT = "started_at"
"""Then, when the call was begun: once it was approved."""


class NewCall(msgspec.Struct, frozen=True):
    """A tool call as the model asked for it; its id is made from its tool message's."""

    id: str
    tool_name: str
    arguments: dict[str, Any]


class Stored(msgspec.Struct, frozen=True):
    """A message and the number of its last change."""

    message: Message
    changed_seq: int

    def as_change(self, since: int) -> Change:
        """Created for whoever has seen nothing after `since`, else updated."""
        if self.message.seq > since and self.message.status != "withdrawn":
            return MessageCreated(self.changed_seq, self.message)
        return MessageUpdated(self.changed_seq, self.message)


def result_of(content: str) -> Any:
    """A tool message's content is JSON; text of another kind stands for itself."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content


def _tool_call(call: dict[str, Any], done: Row[Any] | None) -> ToolCall:
    return ToolCall(
        id=call["id"],
        tool_name=call["tool_name"],
        arguments=call["arguments"],
        status=done.status if done else "running",
        result=result_of(done.content) if done and done.status not in OPEN_CALL else None,
        started_at=_started_at(done) if done else None,
        duration_ms=done.duration_ms if done else None,
    )


def _started_at(done: Row[Any]) -> datetime | None:
    if APPROVAL not in done.metadata:
        return done.created_at
    return msgspec.convert(done.metadata.get(STARTED_AT), datetime | None)


def message_of(row: Row[Any], results: dict[str, Row[Any]]) -> Message:
    calls = row.tool_calls
    worked = {"duration_ms": row.duration_ms} if row.duration_ms is not None else {}
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        turn_id=row.turn_id,
        seq=row.seq,
        role=row.role,
        content=row.content,
        status=row.status,
        tool_calls=[_tool_call(c, results.get(c["id"])) for c in calls] if calls else None,
        tool_call_id=row.tool_call_id,
        metadata=row.metadata | worked,
        created_at=row.created_at,
    )


async def stored(tx: Transaction, conversation_id: UUID, rows: Sequence[Row[Any]]) -> list[Stored]:
    """Puts the results of tool calls into the messages that asked for them."""
    results = {row.tool_call_id: row for row in rows if row.tool_call_id}
    asked = {call["id"] for row in rows for call in row.tool_calls or ()}
    if missing := asked - results.keys():
        more = await tx.all(
            select(*MESSAGE_COLUMNS).where(
                Row_.conversation_id == conversation_id, Row_.tool_call_id.in_(missing)
            )
        )
        results |= {row.tool_call_id: row for row in more}
    return [Stored(message_of(row, results), row.changed_seq) for row in rows]


async def add_message(
    tx: Transaction,
    *,
    conversation_id: UUID,
    turn_id: UUID,
    seq: int,
    role: MessageRole,
    content: str,
    message_id: UUID | None = None,
    status: MessageStatus = "completed",
    calls: Sequence[NewCall] = (),
    tool_call_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> MessageCreated:
    """Writes a message at `seq`, which the caller has taken under the conversation's lock."""
    row = await tx.first(
        _ADD,
        {
            "id": message_id or new_id(),
            "conversation_id": conversation_id,
            "turn_id": turn_id,
            "seq": seq,
            "role": role,
            "content": content,
            "status": status,
            "tool_calls": msgspec.to_builtins(calls) if calls else None,
            "tool_call_id": tool_call_id,
            "metadata": metadata or {},
        },
    )
    assert row is not None
    return MessageCreated(seq, message_of(row, {}))


async def get_chat_history(
    tx: Transaction, conversation_id: UUID, *, limit: int, before: int | None = None
) -> list[Message]:
    """The newest `limit` messages (before the seq `before`), in order; one more if there is.

    The caller has checked whose conversation it is.
    """
    asked = {
        "conversation_id": conversation_id,
        "before": NO_SEQ_IS_AS_HIGH if before is None else before,
        "limit": limit + 1,
    }
    rows = await tx.all(_NEWEST, asked)
    return [one.message for one in await stored(tx, conversation_id, rows[::-1])]


async def messages_between(
    tx: Transaction, conversation_id: UUID, *, after: int, last: int, limit: int
) -> list[Message]:
    """The first `limit` messages after the seq `after`, up to `last`, in order."""
    rows = await tx.all(
        select(*MESSAGE_COLUMNS)
        .where(
            Row_.conversation_id == conversation_id,
            Row_.status != "withdrawn",
            Row_.seq > after,
            Row_.seq <= last,
        )
        .order_by(Row_.seq)
        .limit(limit)
    )
    return [one.message for one in await stored(tx, conversation_id, rows)]


async def messages_of_turn(tx: Transaction, conversation_id: UUID, turn_id: UUID) -> list[Message]:
    rows = await tx.all(
        select(*MESSAGE_COLUMNS)
        .where(
            Row_.conversation_id == conversation_id,
            Row_.turn_id == turn_id,
            Row_.status != "withdrawn",
        )
        .order_by(Row_.seq)
    )
    return [one.message for one in await stored(tx, conversation_id, rows)]


async def is_withdrawn(tx: Transaction, message_id: UUID) -> bool:
    return await tx.scalar(select(Row_.status).where(Row_.id == message_id)) == "withdrawn"


async def message_exists(tx: Transaction, message_id: UUID) -> bool:
    return bool(await tx.scalar(select(Row_.id).where(Row_.id == message_id)))


async def last_answer(tx: Transaction, conversation_id: UUID, turn_id: UUID) -> Message | None:
    """The last thing the assistant said in a turn."""
    rows = await tx.all(
        select(*MESSAGE_COLUMNS)
        .where(
            Row_.conversation_id == conversation_id,
            Row_.turn_id == turn_id,
            Row_.role == "assistant",
            Row_.status != "withdrawn",
        )
        .order_by(Row_.seq.desc())
        .limit(1)
    )
    found = await stored(tx, conversation_id, rows)
    return found[0].message if found else None


async def messages_changed_after(
    tx: Transaction, conversation_id: UUID, *, since: int, limit: int
) -> list[Stored]:
    asked = {"conversation_id": conversation_id, "since": since, "limit": limit}
    rows = await tx.all(_CHANGED_AFTER, asked)
    return await stored(tx, conversation_id, rows)


async def seq_at(tx: Transaction, conversation_id: UUID, time: datetime) -> int:
    """The last message that was there at `time`, as a cursor; 0 if there was none."""
    seq: int | None = await tx.scalar(_AT, {"conversation_id": conversation_id, "time": time})
    return seq or 0
