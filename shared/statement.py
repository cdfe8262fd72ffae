"""Statements that run often: made once, compiled once, and handed to the driver as they are.

SQLAlchemy builds, hashes and adapts a statement each time it runs, which costs several times what
Postgres takes to answer. A `Statement` is one of its constructs with a `bindparam` for whatever
differs from run to run. Every other value is written out: then Postgres can keep one plan for it,
and that plan may use a partial index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
from sqlalchemy import JSON, Executable
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.compiler import SQLCompiler

_PLACE = re.compile(r"\$(\d+)(::[A-Z]+(?: [A-Z]+)*(?:\(\d+\))?(?:\[\])?)?")


class Record(asyncpg.Record):  # pyright: ignore[reportUntypedBaseClass]
    """A row whose columns are attributes, as SQLAlchemy's are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Compiled(NamedTuple):
    sql: str
    names: tuple[str, ...]
    """What goes in the places, in their order."""
    json: frozenset[str]
    """Those of them that the driver wants as JSON text."""


class Statement:
    """`statement` may not have lists that are written out (`IN` with values of its own)."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement

    def bound(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The SQL and what goes in its places. Raises KeyError where a value is missing."""
        compiled = self._compiled
        given = [values[name] for name in compiled.names]
        if compiled.json:
            for index, name in enumerate(compiled.names):
                if name in compiled.json and given[index] is not None:
                    given[index] = msgspec.json.encode(given[index]).decode()
        return compiled.sql, given

    @cached_property
    def _compiled(self) -> Compiled:
        """At first use: most processes never run most statements."""
        compiled = self._statement.compile(dialect=dialect())  # pyright: ignore
        assert isinstance(compiled, SQLCompiler)
        positions = compiled.positiontup
        assert positions is not None
        names: list[str] = []

        def place(match: re.Match[str]) -> str:
            name, kind = positions[int(match[1]) - 1], match[2] or ""
            bind = compiled.binds[name]
            if not bind.required:
                return _literal(bind.value) + kind
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}{kind}"

        sql = _PLACE.sub(place, str(compiled))
        json = {name for name in names if isinstance(compiled.binds[name].type, JSON)}
        return Compiled(sql, tuple(names), frozenset(json))


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            raise TypeError(f"{type(value).__name__} has to be a bindparam")
