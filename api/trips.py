"""Small questions to Redis, many of them: those that come while one trip is under way share the
next. So a thousand requests at once need one connection, and no request waits for long.
"""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import structlog
from redis.exceptions import NoScriptError

from shared.redis import REDIS_ERRORS, Redis

log = structlog.get_logger()

ASK_SECONDS = 0.05
STOOD_STILL_SECONDS = 0.01
MOST_AT_ONCE = 500

Question = tuple[Any, ...]
"""A command and its arguments."""


class Script:
    def __init__(self, text: str) -> None:
        self.text = text
        self._name = sha1(text.encode()).hexdigest()  # noqa: S324 (the name that Redis gives it)

    def question(self, keys: Sequence[str], values: Sequence[Any]) -> Question:
        return ("EVALSHA", self._name, len(keys), *keys, *values)


class Trips:
    """One at a time, with `MOST_AT_ONCE` questions at most."""

    def __init__(self, redis: Redis, *scripts: Script) -> None:
        self._redis = redis
        self._scripts = scripts
        self._waiting: list[tuple[Question, asyncio.Future[Any]]] = []
        self._travelling: asyncio.Task[None] | None = None

    async def ask(self, *question: Any) -> Any:
        """The answer; None if there is none within `ASK_SECONDS`, and at once while Redis is away.

        A question whose answer comes too late for us has still been asked.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._travelling is None or self._travelling.done():
            self._travelling = asyncio.create_task(self._travel())
        # Twice: it may be we who stood still, with the answer there to be read.
        for seconds in (ASK_SECONDS, STOOD_STILL_SECONDS):
            await asyncio.wait({answer}, timeout=seconds)
            if answer.done():
                return answer.result()
        return None

    async def load(self) -> None:
        """Connects, and makes the scripts known, before the first request has to wait for it."""
        await asyncio.gather(*(self.ask("SCRIPT LOAD", script.text) for script in self._scripts))

    async def end(self) -> None:
        """Once the last trip has come back."""
        if self._travelling is not None:
            await self._travelling

    async def _travel(self) -> None:
        while self._waiting:
            batch = self._waiting[:MOST_AT_ONCE]
            del self._waiting[:MOST_AT_ONCE]
            answers: list[Any] = [None] * len(batch)
            try:
                answers = await self._trip([question for question, _ in batch])
            except REDIS_ERRORS as error:
                log.warning("limits_uncounted", error=type(error).__name__)
            for (_, waiter), answer in zip(batch, answers, strict=True):
                if not waiter.done():
                    waiter.set_result(answer)

    async def _trip(self, questions: list[Question]) -> list[Any]:
        """Raises one of REDIS_ERRORS; an error that Redis answers to one question is no answer."""
        async with self._redis.promptly():
            answers = await self._send(questions)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await self._send([("SCRIPT LOAD", script.text) for script in self._scripts])
                pairs = zip(questions, answers, strict=True)
                unknown = [question for question, answer in pairs if _is_unknown(answer)]
                again = iter(await self._send(unknown))
                answers = [next(again) if _is_unknown(answer) else answer for answer in answers]
        return [None if isinstance(answer, REDIS_ERRORS) else answer for answer in answers]

    async def _send(self, questions: Sequence[Question]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for question in questions:
                pipe.execute_command(*question)
            return await pipe.execute(raise_on_error=False)


def _is_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError)
