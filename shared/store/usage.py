"""What turns use of the models: on the turn, and summed up for its owner and the day (UTC)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.account_models import TokenUsage
from shared.db import Transaction
from shared.models import Turn as Row_

_today = cast(func.timezone("UTC", func.clock_timestamp()), Date)


async def keep_usage(tx: Transaction, turn_id: UUID, usage: dict[str, Any]) -> None:
    """`usage` is all that the turn has used. What is new of it is added to the owner's day: what
    the row knows has been added, however often and by whomever it is said again.
    """
    counted = _tokens(Row_.usage["input_tokens"]) + _tokens(Row_.usage["output_tokens"])
    used = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
    new = literal(used, BigInteger) - counted
    added = insert(TokenUsage).from_select(
        ["user_id", "day", "tokens"],
        select(Row_.user_id, _today, new).where(Row_.id == turn_id, new > 0),
    )
    added = added.on_conflict_do_update(
        index_elements=["user_id", "day"],
        set_={"tokens": TokenUsage.tokens + added.excluded.tokens},
    )
    await tx.execute(
        update(Row_).where(Row_.id == turn_id).values(usage=usage).add_cte(added.cte("added"))
    )


def _tokens(value: Any) -> Any:
    return func.coalesce(value.astext.cast(BigInteger), 0)


async def tokens_today(tx: Transaction, owner: str) -> int:
    """How many tokens the owner's turns have used since midnight UTC."""
    found: int | None = await tx.scalar(
        select(TokenUsage.tokens).where(TokenUsage.user_id == owner, TokenUsage.day == _today)
    )
    return found or 0
