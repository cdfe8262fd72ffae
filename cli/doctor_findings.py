"""What a check of `parley doctor` found, and how checks are kept from failing or taking long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.store.doctor import reason

CHECK_SECONDS = 5.0


class State(StrEnum):
    ok = "ok"
    warning = "warning"
    failure = "failure"
    unknown = "not checked"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. What isn't ok has a remedy, one sentence."""

    check: str
    state: State
    said: str
    remedy: str = ""


Check: TypeAlias = Callable[[], Awaitable[Finding]]


def ok(check: str, said: str) -> Finding:
    return Finding(check, State.ok, said)


def warning(check: str, said: str, remedy: str) -> Finding:
    return Finding(check, State.warning, said, remedy)


def failure(check: str, said: str, remedy: str) -> Finding:
    return Finding(check, State.failure, said, remedy)


def unknown(check: str, why: str) -> Finding:
    """It depends on something that another line tells of."""
    return Finding(check, State.unknown, why)


async def checked(name: str, check: Check, seconds: float = CHECK_SECONDS) -> Finding:
    """Whatever goes wrong in a check is what it found. Never takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await check()
    except TimeoutError:
        said = f"no answer within {seconds:g} s"
        return failure(name, said, "Look whether the machine, or what it asks, is overloaded.")
    except Exception as error:
        return failure(
            name,
            f"the check itself failed ({kind_of(error)})",
            "Look into the log of what it asks; if that says nothing, tell Parley's developers.",
        )


async def all_checked(checks: dict[str, Check]) -> list[Finding]:
    """Side by side, told in the order given."""
    return list(await asyncio.gather(*(checked(name, check) for name, check in checks.items())))


def kind_of(error: BaseException) -> str:
    """Its name. redis-py calls much a ConnectionError; what is behind it tells more."""
    while isinstance(error, RedisConnectionError) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    return reason(error)


def exit_code(findings: Sequence[Finding]) -> int:
    return int(any(finding.state is State.failure for finding in findings))


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sized(size: float) -> str:
    """Bytes, as people say them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def lasting(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
