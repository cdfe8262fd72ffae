"""The clients of a proof: each says what the script says, in one conversation, to its end.

A client trusts only what it can read: a turn has ended when the client's own polling says so.
"""

from __future__ import annotations

import asyncio
from typing import Any

from cli.verify.caller import Answer, Caller, UnansweredError, World
from cli.verify.farewell import Farewell
from cli.verify.invariants import Invariant
from cli.verify.ledger import Chat, Ledger, Sent
from cli.verify.readers import PollReader, Reader, reader_of
from cli.verify.script import Features, Listener, Say, Script, Step, Talk
from cli.verify.view import TERMINAL, Row
from shared.ids import new_id

AT_ONCE = 40
SETTLE_SECONDS = 180.0
LOOK_SECONDS = 1.0
BEGIN = "/api/chat/conversations"
BUSY = {409: "conversation_busy"}
EYE = Listener("poll", seed=0, late=0.0, drop=0.0, limit=50, wait=10.0)
"""What a client itself reads with."""
NOT_RETRYABLE = {409: "turn_not_retryable"}


async def run(script: Script, world: World, ledger: Ledger, *, at_once: int = AT_ONCE) -> None:
    """Everything the script says, so many conversations at once. The ledger has what came of it."""
    ledger.total = script.turns
    room = asyncio.Semaphore(at_once)
    async with Caller(world, ledger) as caller:

        async def talk(plan: Talk) -> None:
            async with room:
                await Client(plan, script.features, caller).run()

        async with asyncio.TaskGroup() as group:
            for plan in script.talks:
                group.create_task(talk(plan))


class Client:
    def __init__(self, plan: Talk, features: Features, caller: Caller) -> None:
        self._plan = plan
        self._features = features
        self._caller = caller
        self._ledger = caller.ledger
        self._counts = caller.ledger.counts
        self._cancels: list[asyncio.Task[None]] = []
        self._readers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        try:
            await self._talk()
        except UnansweredError:
            self._counts["abandoned"] += 1
        except asyncio.CancelledError:
            self._counts["abandoned"] += 1
            raise
        finally:
            tasks = [*self._cancels, *self._readers]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self) -> None:
        self._chat = await self._begin()
        self._eye = PollReader(EYE, self._caller, self._chat)
        listeners = [reader_of(each, self._caller, self._chat) for each in self._plan.listeners]
        readers: list[Reader] = [self._eye, *listeners]
        self._readers = [asyncio.create_task(self._read(reader)) for reader in readers]
        for step in self._plan.steps:
            await self._do(step)
        await self._settle()
        await Farewell(self._chat, self._features, self._caller, readers).say()

    async def _read(self, reader: Reader) -> None:
        try:
            await reader.run()
        except UnansweredError:
            raise
        except Exception as error:
            self._ledger.note(Invariant.converges, f"{reader.who}: it broke down: {error!r}")
            raise

    async def _begin(self) -> Chat:
        body = {"title": f"Talk {self._plan.name}"} if self._plan.titled else {}
        key = str(new_id())
        owner = self._plan.owner
        answer = await self._caller.ask(owner, "POST", BEGIN, body=body, key=key)
        chat = Chat(answer.body["id"], owner, key, body, answer.body)
        self._ledger.chats[chat.conversation_id] = chat
        return chat

    async def _do(self, step: Step) -> None:
        await asyncio.sleep(step.pause)
        if step.together:
            said = (self._say(say) for say in step.says)
            for outcome in await asyncio.gather(*said, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        else:
            for say in step.says:
                await self._say(say)
        if step.settle:
            await self._settle()
        if step.retry:
            await self._retry_last()

    async def _say(self, say: Say) -> None:
        await asyncio.sleep(say.after)
        quiet = self._is_quiet()
        chat, clock = self._chat, asyncio.get_running_loop().time
        sent = Sent(chat.conversation_id, chat.owner, str(new_id()), say.text, say.on_busy, clock())
        chat.sent.append(sent)
        answers = await asyncio.gather(
            *(self._post(sent) for _ in range(2 if say.doubled else 1)), return_exceptions=True
        )
        sent.ended = clock()
        given: list[Answer] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            given.append(answer)
        self._record(sent, given)
        if quiet and not sent.accepted and chat.sent[-1] is sent:
            told = f"{sent.text[:60]!r} was refused as busy while nothing went on"
            self._ledger.note(Invariant.answered, told)
        if sent.accepted and say.cancel_after is not None:
            self._cancels.append(asyncio.create_task(self._cancel(sent.turn_id, say)))

    async def _post(self, sent: Sent) -> Answer:
        path = f"{BEGIN}/{sent.conversation_id}/messages"
        expected = BUSY if sent.on_busy == "reject" else {}
        return await self._caller.ask(
            sent.owner, "POST", path, body=sent.body, key=sent.key, expected=expected
        )

    def _record(self, sent: Sent, answers: list[Answer]) -> None:
        """A refusal is not kept under the key, so of two requests one may be refused."""
        self._counts["posts"] += 1
        self._counts["doubled_posts"] += len(answers) > 1
        accepted = [answer for answer in answers if answer.status != 409]
        chosen = (accepted or answers)[0]
        sent.status, sent.answer = chosen.status, chosen.body
        sent.uncertain = sum(answer.uncertain for answer in answers)
        self._counts["refused_busy"] += not accepted
        if any(other.body != chosen.body or other.status != chosen.status for other in accepted):
            told = f"key {sent.key}: {[(answer.status, answer.body) for answer in accepted]}"
            self._ledger.note(Invariant.doubled_once, told)

    async def _cancel(self, turn_id: str, say: Say) -> None:
        await asyncio.sleep(say.cancel_after or 0.0)
        for _ in range(2 if say.cancel_twice else 1):
            self._ledger.cancel_asked.add(turn_id)
            path = f"/api/chat/turns/{turn_id}/cancel"
            answer = await self._caller.ask(self._plan.owner, "POST", path)
            self._counts["cancels"] += 1
            status = answer.body["status"]
            if answer.status == 202:
                self._ledger.cancel_accepted.add(turn_id)
            if status not in ({"cancelled", "running"} if answer.status == 202 else TERMINAL):
                told = f"turn {turn_id}: the cancel was answered {answer.status} with {status}"
                self._ledger.note(Invariant.cancel_holds, told)

    async def _retry_last(self) -> None:
        """If the last turn failed or was cancelled and is still to be seen."""
        last = max(self._chat.turns, key=lambda sent: sent.seq, default=None)
        if not self._features.retry or last is None:
            return
        turn = self._eye.view.turns[last.turn_id]
        message = self._eye.view.messages[last.message_id]
        if turn["status"] == "completed" or message["status"] == "withdrawn":
            return
        self._ledger.cancel_accepted.discard(last.turn_id)
        self._ledger.retried.add(last.turn_id)
        path = f"/api/chat/turns/{last.turn_id}"
        answer = await self._caller.ask(
            self._plan.owner, "POST", f"{path}/retry", expected=NOT_RETRYABLE
        )
        self._counts["retries"] += 1
        if answer.status == 202:
            queued = answer.body["status"] == "queued" and answer.body["error"] is None
            surprise = None if queued else f"answered {answer.body}"
        else:
            # An earlier try may have arrived, or a message that its client gave up on.
            late = answer.uncertain or self._chat.may_surprise
            surprise = None if late else answer.code
        if surprise:
            told = f"the retry of turn {last.turn_id} ({turn['status']}): {surprise}"
            self._ledger.note(Invariant.answered, told)
        shown = await self._caller.ask(self._plan.owner, "GET", path)
        await self._settle(since=shown.body)

    def _is_quiet(self) -> bool:
        """As far as this client can know, nothing waits or runs."""
        return not self._chat.may_surprise and self._all_ended() and not self._cancels_left()

    def _all_ended(self, since: Row | None = None) -> bool:
        shown = self._eye.view.turns
        if since is not None and shown[since["id"]]["seq"] < since["seq"]:
            return False
        known = all(sent.turn_id in shown for sent in self._chat.accepted)
        waited = all(sent.status for sent in self._chat.sent)
        return known and waited and all(turn["status"] in TERMINAL for turn in shown.values())

    def _cancels_left(self) -> bool:
        return any(not task.done() for task in self._cancels)

    async def _settle(self, since: Row | None = None) -> None:
        """Until every turn has ended, and a retried one at `since` or later."""
        await asyncio.gather(*self._cancels)
        clock = asyncio.get_running_loop().time
        deadline = clock() + SETTLE_SECONDS
        while not self._all_ended(since):
            if self._readers[0].done():
                raise UnansweredError("polling")
            if clock() > deadline:
                self._ledger.note(Invariant.ended, f"{self._unended()} after {SETTLE_SECONDS} s")
                raise UnansweredError("the end of its turns")
            await self._eye.look(LOOK_SECONDS)

    def _unended(self) -> list[Any]:
        turns = self._eye.view.turns
        waited = {sent.turn_id for sent in self._chat.accepted} | turns.keys()
        states = {key: turns[key]["status"] if key in turns else "unseen" for key in waited}
        return [f"turn {key}: {state}" for key, state in states.items() if state not in TERMINAL]
