"""Tool calls: asked for in an assistant message, each at work in a tool message of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, cast, func, select, update

from shared.db import Transaction
from shared.events import OPEN_CALL, Change, MessageCreated, MessageStatus, MessageUpdated
from shared.ids import call_id, message_id_of_call, new_id
from shared.models import Message as Row_
from shared.store.messages import (
    APPROVAL,
    MESSAGE_COLUMNS,
    STARTED_AT,
    NewCall,
    add_message,
    message_of,
)

NOT_RUN = {"error": {"code": "not_run", "message": "The turn ended before the call was begun."}}
CLOSED_CALL = {
    "error": {"code": "outcome_unknown", "message": "The turn ended before the tool's result."}
}


def new_call(tool_name: str, arguments: dict[str, Any]) -> NewCall:
    return NewCall(call_id(new_id()), tool_name, arguments)


class OpenCall(msgspec.Struct, frozen=True):
    id: str
    status: MessageStatus


async def start_calls(
    tx: Transaction,
    *,
    conversation_id: UUID,
    turn_id: UUID,
    seq: int,
    calls: Sequence[NewCall],
    awaiting: Collection[str] = (),
) -> list[MessageCreated]:
    """A tool message for each call, numbered from `seq`: at work, or `awaiting` approval."""
    return [
        await add_message(
            tx,
            conversation_id=conversation_id,
            turn_id=turn_id,
            seq=seq + index,
            role="tool",
            content="",
            message_id=message_id_of_call(call.id),
            status="awaiting_approval" if call.id in awaiting else "running",
            tool_call_id=call.id,
            metadata={"tool_name": call.tool_name}
            | ({APPROVAL: "awaited"} if call.id in awaiting else {}),
        )
        for index, call in enumerate(calls)
    ]


async def finish_call(
    tx: Transaction, tool_call_id: str, *, seq: int, status: MessageStatus, result: Any
) -> MessageUpdated | None:
    """Writes a tool's result; None if it has one already, or was never begun."""
    began = func.coalesce(
        cast(Row_.message_metadata[STARTED_AT].astext, DateTime(timezone=True)), Row_.created_at
    )
    worked = func.extract("epoch", func.clock_timestamp() - began) * 1000
    row = await tx.first(
        update(Row_)
        .where(Row_.id == message_id_of_call(tool_call_id), Row_.status == "running")
        .values(
            content=msgspec.json.encode(result).decode(),
            status=status,
            duration_ms=worked,
            changed_seq=seq,
        )
        .returning(*MESSAGE_COLUMNS)
    )
    return MessageUpdated(seq, message_of(row, {})) if row else None


async def drop_call(
    tx: Transaction, tool_call_id: str, *, seq: int, status: MessageStatus, result: Any
) -> MessageUpdated | None:
    """Writes the result of a call that awaited approval and will not run; None if it doesn't."""
    row = await tx.first(
        update(Row_)
        .where(Row_.id == message_id_of_call(tool_call_id), Row_.status == "awaiting_approval")
        .values(content=msgspec.json.encode(result).decode(), status=status, changed_seq=seq)
        .returning(*MESSAGE_COLUMNS)
    )
    return MessageUpdated(seq, message_of(row, {})) if row else None


async def open_calls(tx: Transaction, turn_id: UUID) -> list[OpenCall]:
    """The calls of a turn that have no result yet, in order."""
    rows = await tx.all(
        select(Row_.tool_call_id, Row_.status)
        .where(Row_.turn_id == turn_id, Row_.status.in_(OPEN_CALL))
        .order_by(Row_.seq)
    )
    return [OpenCall(row.tool_call_id, row.status) for row in rows]


async def close_calls(
    tx: Transaction, calls: Sequence[OpenCall], *, seq: int, status: MessageStatus
) -> list[Change]:
    """Gives each call a result from `seq` on, because its turn ends."""
    closed = [
        await drop_call(tx, call.id, seq=seq + index, status=status, result=NOT_RUN)
        if call.status == "awaiting_approval"
        else await finish_call(tx, call.id, seq=seq + index, status=status, result=CLOSED_CALL)
        for index, call in enumerate(calls)
    ]
    return [change for change in closed if change is not None]
