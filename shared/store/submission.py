"""A user's message and the turn that will answer it, in one statement."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import bindparam, insert, select, true

from shared.db import Transaction
from shared.events import MessageCreated, Turn
from shared.ids import new_id
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.statement import Statement
from shared.store.messages import MESSAGE_COLUMNS, message_of
from shared.store.turns import WAITING, turn_columns, turn_of

_turn = (
    insert(TurnRow)
    .values(
        id=bindparam("turn_id"),
        conversation_id=bindparam("conversation_id"),
        user_id=bindparam("owner"),
        user_message_id=bindparam("message_id"),
        seq=bindparam("turn_seq"),
        changed_seq=bindparam("turn_seq"),
        status="queued",
        position=WAITING + 1,
        request_id=bindparam("request_id"),
        traceparent=bindparam("traceparent"),
    )
    .returning(*turn_columns(TurnRow, prefix="turn_"))
    .cte("turn")
)
_message = (
    insert(MessageRow)
    .values(
        id=bindparam("message_id"),
        conversation_id=bindparam("conversation_id"),
        user_id=bindparam("owner"),
        turn_id=bindparam("turn_id"),
        seq=bindparam("seq"),
        changed_seq=bindparam("seq"),
        role="user",
        content=bindparam("content"),
        status="completed",
        message_metadata=bindparam("metadata"),
    )
    .returning(*MESSAGE_COLUMNS)
    .cte("message")
)
# The message's own `turn_id` is left out: the turn's id has that name here.
_SUBMIT = Statement(
    select(*_turn.c, *(column for column in _message.c if column.name != "turn_id")).select_from(
        _turn.join(_message, true())
    )
)


async def queue_message(
    tx: Transaction,
    *,
    conversation_id: UUID,
    owner: str,
    content: str,
    seq: int,
    request_id: str | None = None,
    traceparent: str | None = None,
) -> tuple[MessageCreated, Turn]:
    """The message at `seq` and its turn at the next number, behind those that wait already.

    The caller has taken both under the conversation's lock, and knows that it is the owner's.
    """
    row = await tx.first(
        _SUBMIT,
        {
            "turn_id": new_id(),
            "message_id": new_id(),
            "conversation_id": conversation_id,
            "owner": owner,
            "content": content,
            "metadata": {},
            "seq": seq,
            "turn_seq": seq + 1,
            "request_id": request_id,
            "traceparent": traceparent,
        },
    )
    assert row is not None
    return MessageCreated(seq, message_of(row, {})), turn_of(row, prefix="turn_")
