"""The end of a conversation: keys that must be remembered, strangers, and what every reader saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from cli.verify.caller import Caller
from cli.verify.invariants import Invariant
from cli.verify.ledger import Chat, Sent
from cli.verify.readers import Reader, read_page, view_of
from cli.verify.script import Features
from cli.verify.view import History, View

CONVERGE_SECONDS = 60.0
LOOK_SECONDS = 0.2
HISTORY_PAGE = 7
SINCE_PAGE = 100
STRANGER = "storm-stranger"
REUSED = {422: "idempotency_key_reused"}
NOT_FOUND = {404: "not_found"}
SHOWN_DIFFERENCES = 3


class Farewell:
    def __init__(
        self, chat: Chat, features: Features, caller: Caller, readers: Sequence[Reader]
    ) -> None:
        self._chat = chat
        self._features = features
        self._caller = caller
        self._ledger = caller.ledger
        self._readers = readers
        self._path = f"/api/chat/conversations/{chat.conversation_id}"

    async def say(self) -> None:
        if self._features.keys:
            await self._repeat_keys()
        await self._let_a_stranger_try()
        await self._compare()

    async def _repeat_keys(self) -> None:
        chat = self._chat
        await self._repeat("/api/chat/conversations", chat.key, chat.body, (201, chat.answer))
        for sent in chat.accepted:
            answered = (sent.status, sent.answer)
            await self._repeat(f"{self._path}/messages", sent.key, sent.body, answered)
        if chat.accepted:
            await self._misuse(chat.accepted[-1])

    async def _repeat(
        self, path: str, key: str, body: dict[str, Any], answered: tuple[int, dict[str, Any]]
    ) -> None:
        again = await self._caller.ask(self._chat.owner, "POST", path, body=body, key=key)
        self._ledger.counts["keys_repeated"] += 1
        if (again.status, again.body) != answered:
            told = f"key {key}: {answered}, and later {(again.status, again.body)}"
            self._ledger.note(Invariant.key_remembered, told)

    async def _misuse(self, sent: Sent) -> None:
        """The same key for something else."""
        other = sent.body | {"content": "say something else"}
        again = await self._caller.ask(
            sent.owner, "POST", f"{self._path}/messages", body=other, key=sent.key, expected=REUSED
        )
        if again.status != 422:
            told = f"key {sent.key} was accepted for another body: {again.body}"
            self._ledger.note(Invariant.key_remembered, told)

    async def _let_a_stranger_try(self) -> None:
        paths = [self._path, f"{self._path}/messages", f"{self._path}/events"]
        paths += [f"/api/chat/turns/{sent.turn_id}" for sent in self._chat.accepted[:1]]
        for path in paths:
            answer = await self._caller.ask(STRANGER, "GET", path, expected=NOT_FOUND)
            self._ledger.counts["strangers_refused"] += answer.status == 404
            if answer.status != 404:
                self._ledger.note(Invariant.tenants, f"{path}: {answer.status} {answer.body}")

    async def _compare(self) -> None:
        """Every reader gets there; what it is still missing then is a violation."""
        for reader in self._readers:
            reader.stay()
        clock = asyncio.get_running_loop().time
        deadline = clock() + CONVERGE_SECONDS
        while True:
            history = await self._history()
            behind = {
                reader.who: found
                for reader in self._readers
                if (found := reader.view.differences(history))
            }
            if not behind or clock() > deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        for reader in self._readers:
            if found := behind.get(reader.who):
                told = f"{reader.who} at {reader.view.last_id}: {len(found)} differences"
                self._ledger.note(Invariant.converges, f"{told}, {found[:SHOWN_DIFFERENCES]}")
        await self._read_from_the_start(history)
        for reader in self._readers:
            reader.view.close()
        self._ledger.counts["views_compared"] += len(self._readers) + 1

    async def _history(self) -> History:
        """All pages, back to the first."""
        history = History()
        before: int | None = None
        while True:
            params = {"limit": HISTORY_PAGE} | ({} if before is None else {"before": before})
            page = await read_page(self._caller, self._chat, params)
            seqs = [message["seq"] for message in page["messages"]]
            if seqs != sorted(set(seqs)) or (before is not None and seqs and seqs[-1] >= before):
                told = f"{self._chat.conversation_id}: the page before {before} has {seqs}"
                self._ledger.note(Invariant.event_order, told)
            history.messages |= {message["id"]: message for message in page["messages"]}
            history.turns |= {turn["id"]: turn for turn in page["turns"]}
            if not page["has_more"]:
                break
            before = seqs[0]
        self._judge_count(history, page["total_count"])
        return history

    def _judge_count(self, history: History, total: int) -> None:
        if total != len(history.messages):
            told = f"{self._chat.conversation_id}: {total} told, {len(history.messages)} shown"
            self._ledger.note(Invariant.counted, told)

    async def _read_from_the_start(self, history: History) -> None:
        view: View = view_of(f"since=0 of {self._chat.conversation_id}", self._caller)
        more = True
        while more:
            since = view.seq
            params = {"since": since, "limit": SINCE_PAGE}
            page = await read_page(self._caller, self._chat, params)
            view.read(page, since=since, limit=SINCE_PAGE)
            more = page["has_more"]
        if found := view.differences(history):
            told = f"since=0 of {self._chat.conversation_id}: {found[:SHOWN_DIFFERENCES]}"
            self._ledger.note(Invariant.converges, told)
        view.close()
