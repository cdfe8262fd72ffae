"""What turns use of the models: on the turn, and summed up for its owner and the day (UTC)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, Uuid, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.account_models import TokenUsage
from shared.db import Transaction
from shared.models import Turn as Row_
from shared.statement import Statement

_today = cast(func.timezone("UTC", func.clock_timestamp()), Date)


def _tokens(value: Any) -> Any:
    return func.coalesce(value.astext.cast(BigInteger), 0)


_turn_id = bindparam("turn_id", type_=Uuid)
_new = bindparam("used", type_=BigInteger) - (
    _tokens(Row_.usage["input_tokens"]) + _tokens(Row_.usage["output_tokens"])
)
_added = insert(TokenUsage).from_select(
    ["user_id", "day", "tokens"],
    select(Row_.user_id, _today, _new).where(Row_.id == _turn_id, _new > 0),
)
ADDED = _added.on_conflict_do_update(
    index_elements=["user_id", "day"],
    set_={"tokens": TokenUsage.tokens + _added.excluded.tokens},
).cte("added")
"""What is new of a turn's `used` tokens is added to the owner's day, within whatever statement
writes the turn's usage; what the row knows has been added, however often it is said again.
"""
_KEEP = Statement(
    update(Row_).where(Row_.id == _turn_id).values(usage=bindparam("usage")).add_cte(ADDED)
)


async def keep_usage(tx: Transaction, turn_id: UUID, usage: dict[str, Any]) -> None:
    """`usage` is all that the turn has used."""
    await tx.all(_KEEP, {"turn_id": turn_id, "usage": usage, "used": used_in(usage)})


def used_in(usage: dict[str, Any]) -> int:
    return usage.get("input_tokens", 0) + usage.get("output_tokens", 0)


async def tokens_today(tx: Transaction, owner: str) -> int:
    """How many tokens the owner's turns have used since midnight UTC."""
    found: int | None = await tx.scalar(
        select(TokenUsage.tokens).where(TokenUsage.user_id == owner, TokenUsage.day == _today)
    )
    return found or 0
