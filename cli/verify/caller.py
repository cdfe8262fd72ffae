"""HTTP as a careful client speaks it: a request is repeated elsewhere until it is answered.

A request that changes something carries an Idempotency-Key, so that repeating it is safe.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import httpx
import msgspec

from cli.verify.invariants import Invariant
from cli.verify.ledger import Ledger

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 4.0
PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
# The request never left: nothing can have come of it.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class World(Protocol):
    """Where the service is, and who somebody is to it."""

    def urls(self) -> list[str]:
        """Of the APIs, whether they are up or not."""
        ...

    def token(self, owner: str) -> str: ...


class UnansweredError(Exception):
    """It was noted as a violation; this conversation can't go on."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    uncertain: int
    """Requests before this one that may have arrived."""

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))


class Caller:
    """Speaks for every client of a proof."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.ledger = ledger
        self._world = world
        self._turn = itertools.count()
        self._tokens: dict[str, str] = {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.http = httpx.AsyncClient(limits=limits, trust_env=False, timeout=ANSWER_SECONDS)

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    def url(self) -> str:
        """The APIs in turn."""
        urls = self._world.urls()
        return urls[next(self._turn) % len(urls)]

    def headers(self, owner: str) -> dict[str, str]:
        if owner not in self._tokens:
            self._tokens[owner] = self._world.token(owner)
        return {"Authorization": f"Bearer {self._tokens[owner]}"}

    async def ask(
        self,
        owner: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        wait: float = 0.0,
        expected: Mapping[int, str] | None = None,
    ) -> Answer:
        """The first answer that is one: 2xx, or a 4xx (`expected`: by status, its code).

        Raises UnansweredError for any other 4xx, and if nobody answers for very long.
        """
        headers = self.headers(owner) | ({"Idempotency-Key": key} if key else {})
        timeout = httpx.Timeout(ANSWER_SECONDS + wait, connect=CONNECT_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        uncertain, pause = 0, FIRST_PAUSE_SECONDS
        what = f"{method} {path}"
        while loop.time() < deadline:
            try:
                found = await self.http.request(
                    method,
                    self.url() + path,
                    headers=headers,
                    json=body,
                    params=params,
                    timeout=timeout,
                )
            except httpx.HTTPError as error:
                uncertain += not isinstance(error, _NEVER_SENT)
            else:
                if found.status_code < 500:
                    return self._judged(what, found, uncertain, expected or {})
                uncertain += 1
                self._judge_failure(what, found)
            self.ledger.counts["repeats"] += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self.ledger.note(Invariant.answered, f"{what}: no answer in {PATIENCE_SECONDS:.0f} s")
        raise UnansweredError(what)

    def _judged(
        self, what: str, found: httpx.Response, uncertain: int, expected: Mapping[int, str]
    ) -> Answer:
        answer = Answer(found.status_code, _object(found), uncertain)
        if found.is_success or expected.get(answer.status) == answer.code:
            return answer
        self.ledger.note(
            Invariant.answered, f"{what}: {answer.status} {answer.code or answer.body}"
        )
        raise UnansweredError(what)

    def _judge_failure(self, what: str, found: httpx.Response) -> None:
        self.ledger.counts[f"answers_{found.status_code}"] += 1
        if found.status_code != 503:
            self.ledger.note(Invariant.answered, f"{what}: {found.status_code} {found.text[:200]}")


def _object(found: httpx.Response) -> dict[str, Any]:
    """Every answer is an object of JSON; what isn't stands as the code of nothing we expect."""
    try:
        return msgspec.json.decode(found.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"code": f"not an object of JSON: {found.text[:80]}"}
