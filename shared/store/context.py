"""What a turn answers to: the conversation as its model reads it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Integer, bindparam, select, true

from shared.db import Transaction
from shared.events import Message
from shared.models import Message as MessageRow
from shared.models import Turn as TurnRow
from shared.statement import Statement
from shared.store.messages import MESSAGE_COLUMNS, stored

CONTEXT_MESSAGES = 50

# Through the turns, the last ones first: a turn's messages are all in its conversation. OFFSET
# forbids any other order, which Postgres would choose where it hasn't counted its rows yet: then
# each turn of a database that was just restored would read all messages there are.
_said = (
    select(*MESSAGE_COLUMNS)
    .where(MessageRow.turn_id == TurnRow.id, MessageRow.status != "withdrawn")
    .offset(0)
    .lateral("said")
)
_CONTEXT = Statement(
    select(_said)
    .select_from(TurnRow)
    .join(_said, true())
    .where(
        TurnRow.conversation_id == bindparam("conversation_id"),
        TurnRow.seq <= bindparam("order"),
    )
    .order_by(TurnRow.seq.desc(), _said.c.seq.desc())
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
