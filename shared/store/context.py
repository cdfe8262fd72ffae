"""What a turn answers to: the conversation as its model reads it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Integer, bindparam, select

from shared.db import Transaction
from shared.events import Message
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.statement import Statement
from shared.store.messages import MESSAGE_COLUMNS, stored

CONTEXT_MESSAGES = 50

_CONTEXT = Statement(
    select(*MESSAGE_COLUMNS)
    .join(TurnRow, TurnRow.id == MessageRow.turn_id)
    # Through the turns, the last ones first: a turn's messages are all in its conversation.
    .where(
        MessageRow.status != "withdrawn",
        TurnRow.conversation_id == bindparam("conversation_id"),
        TurnRow.seq <= bindparam("order"),
    )
    .order_by(TurnRow.seq.desc(), MessageRow.seq.desc())
    .limit(bindparam("limit", type_=Integer))
)


async def load_conversation_context(
    tx: Transaction, conversation_id: UUID, *, order: int, limit: int = CONTEXT_MESSAGES
) -> list[Message]:
    """The last `limit` messages a turn answers to, in the order they were said.

    `order` is the turn's own place. Messages that wait behind it are not part of it, and a
    question is followed by its answer even where the next question came in between.
    """
    asked = {"conversation_id": conversation_id, "order": order, "limit": limit}
    rows = await tx.all(_CONTEXT, asked)
    return [one.message for one in await stored(tx, conversation_id, rows[::-1])]
