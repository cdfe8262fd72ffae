"""Sessions of browsers: the cookie holds an id, the row its hash."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select

from shared.access import Access
from shared.account_models import BrowserSession as Row_
from shared.db import Transaction

FORGOTTEN_AT_ONCE = 1000


class Found(msgspec.Struct, frozen=True):
    owner: str
    expires_at: datetime
    access: Access


async def open_session(
    tx: Transaction, id_hash: bytes, *, owner: str, session_id: str | None, expires_at: datetime
) -> None:
    """`session_id` is the session of the other application that it was made from, if any."""
    await tx.execute(
        insert(Row_).values(
            id_hash=id_hash, user_id=owner, session_id=session_id, expires_at=expires_at
        )
    )


async def find_session(tx: Transaction, id_hash: bytes) -> Found | None:
    """None if there is none, or it has expired. What it was made from is not asked here."""
    row = await tx.first(
        select(Row_.user_id, Row_.expires_at, Row_.session_id).where(
            Row_.id_hash == id_hash, Row_.expires_at > func.clock_timestamp()
        )
    )
    if row is None:
        return None
    owner, expires_at, session_id = tuple[Any, ...](row)
    return Found(owner, expires_at, Access(session_id, id_hash))


async def standing(tx: Transaction, hashes: Collection[bytes]) -> set[bytes]:
    """Those of the sessions that are still there and unexpired."""
    rows = await tx.all(
        select(Row_.id_hash).where(
            Row_.id_hash.in_(hashes), Row_.expires_at > func.clock_timestamp()
        )
    )
    return {row[0] for row in rows}


async def end_session(tx: Transaction, id_hash: bytes, *, owner: str) -> None:
    await tx.execute(delete(Row_).where(Row_.id_hash == id_hash, Row_.user_id == owner))


async def forget_ended_sessions(tx: Transaction) -> None:
    """Deletes expired ones, a bounded number of them, and waits for nobody."""
    old = (
        select(Row_.id_hash)
        .where(Row_.expires_at < func.clock_timestamp())
        .order_by(Row_.expires_at)
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await tx.execute(delete(Row_).where(Row_.id_hash.in_(old)))
