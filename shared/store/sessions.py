"""Sessions of another application, whose table we read and never write.

Its tokens are compared as they stand there, so that its index finds them. Nothing is kept in mind:
a session that was ended is gone with the next request.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import Text

from shared.db import Transaction
from shared.errors import SettingsError
from shared.settings import Settings

MAX_NAME_BYTES = 63
DATA_EXCEPTION = "22"
"""The class of SQLSTATE."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*", re.ASCII)


class UnfitIdError(Exception):
    """The column can't hold one of the ids: it had another type when that was read from it."""


class Session(msgspec.Struct, frozen=True):
    id: str
    user_id: str
    expires_at: datetime


class SessionTable:
    """The queries, made once from the names in the settings."""

    def __init__(self, find: TextClause, standing: TextClause) -> None:
        self.find_sql = find
        self.standing_sql = standing

    async def find(self, tx: Transaction, token: str) -> Session | None:
        """The unexpired session of a token; None also where two claim it."""
        rows = await tx.all(self.find_sql, {"token": token})
        if len(rows) != 1:
            return None
        session_id, user_id, given = tuple[Any, ...](rows[0])
        expires_at = _unexpired(given)
        if session_id is None or user_id is None or expires_at is None:
            return None
        return Session(session_id, user_id, expires_at)

    async def standing(self, tx: Transaction, ids: Collection[str]) -> set[str]:
        """Those of the sessions that are still there and unexpired. Raises UnfitIdError."""
        try:
            rows = await tx.all(self.standing_sql, {"ids": list(ids)})
        except DBAPIError as error:
            if _speaks_of_a_value(error):
                raise UnfitIdError from None
            raise
        found = (tuple[Any, ...](row) for row in rows)
        return {session_id for session_id, given in found if _unexpired(given)}


def session_table(settings: Settings) -> SessionTable | None:
    """None if there is none. Raises SettingsError that says which name can't be one."""
    if not settings.parley_sessions_table:
        return None
    problems: list[str] = []

    def quoted(setting: str, *, dots: int = 0) -> str:
        parts = getattr(settings, setting).split(".")
        if len(parts) > dots + 1 or not all(_is_name(part) for part in parts):
            problems.append(f"{setting.upper()}: it is not the name of a table or column")
        return ".".join(f'"{part}"' for part in parts)

    table = quoted("parley_sessions_table", dots=1)
    id_ = quoted("parley_sessions_id_column")
    user = quoted("parley_sessions_user_column")
    token = quoted("parley_sessions_token_column")
    expires = quoted("parley_sessions_expires_column")
    if problems:
        raise SettingsError(problems)
    # Names are checked and quoted above, values are bound.
    find = text(
        f"SELECT {id_}::text, {user}::text, {expires} FROM {table} "  # noqa: S608
        f"WHERE {token} = :token LIMIT 2"
    ).bindparams(bindparam("token", type_=Text()))
    # The ids come back as texts and their column may be of any type. Reading them as a row of the
    # table gives them its type, so that its index finds them.
    standing = text(
        f"SELECT {id_}::text, {expires} FROM {table} WHERE {id_} = ANY (ARRAY("  # noqa: S608
        f"SELECT (jsonb_populate_record(NULL::{table}, jsonb_build_object('{id_[1:-1]}', given)))"
        f".{id_} FROM unnest(CAST(:ids AS text[])) AS given))"
    )
    return SessionTable(find, standing)


def _is_name(part: str) -> bool:
    return _NAME.fullmatch(part) is not None and len(part) <= MAX_NAME_BYTES


def _speaks_of_a_value(error: DBAPIError) -> bool:
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(DATA_EXCEPTION)


def _unexpired(given: object) -> datetime | None:
    """When it expires; a time without a zone is UTC. None if it has, or if nobody can tell."""
    if not isinstance(given, datetime):
        return None
    expires_at = given if given.tzinfo else given.replace(tzinfo=UTC)
    return expires_at if expires_at > datetime.now(UTC) else None
