"""What Postgres refuses, and a name for it that tells nothing of a statement or an address."""

from __future__ import annotations

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

DATABASE_ERRORS = (SQLAlchemyError, asyncpg.PostgresError)
"""Beside Unavailable: a database, a role or a table that doesn't exist, a URL that is none."""


def kind_of(error: BaseException) -> str:
    """The driver's own name for it, which says more than SQLAlchemy's."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return type(error.orig.__cause__ or error.orig).__name__
    return type(error).__name__
