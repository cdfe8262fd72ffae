"""The HTTP API as a client sees it: requests, problems, and a stream that outlives connections."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

import httpx
import msgspec
from httpx_sse import ServerSentEvent, connect_sse

from cli.console import tell
from cli.data_dir import DataDir
from cli.errors import ServerError
from shared.events import (
    Conversation,
    ConversationUpdated,
    Event,
    Message,
    MessageCreated,
    MessageDelta,
    MessageUpdated,
    StreamClosing,
    Turn,
    TurnUpdated,
)

DEFAULT_URL = "http://127.0.0.1:8000"
CONVERSATIONS = "/api/chat/conversations"
TURNS = "/api/chat/turns"
SILENCE_SECONDS = 40.0  # the server says something every 15
GIVE_UP_SECONDS = 60.0
PATIENCE_SECONDS = 15.0
BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0)
UNCERTAIN = "Whether it arrived is not known: look before you say it again"
LOCAL = ("://127.", "://localhost", "://[::1]")

KINDS: dict[str, type[Event]] = {
    "message.created": MessageCreated,
    "message.updated": MessageUpdated,
    "message.delta": MessageDelta,
    "turn.updated": TurnUpdated,
    "conversation.updated": ConversationUpdated,
    "stream.closing": StreamClosing,
}


class Accepted(msgspec.Struct):
    """The 202 answer to a message."""

    message: Message
    turn: Turn


class ConnectionLostError(Exception):
    """Worth another try: the service is away, not against us."""


class Server:
    """One user's view of the service."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(10, read=SILENCE_SECONDS),
            trust_env=not any(local in url for local in LOCAL),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def create_conversation(self) -> Conversation:
        return msgspec.json.decode(self._post(CONVERSATIONS, json={}), type=Conversation)

    def conversation(self, conversation_id: str) -> Conversation:
        body = self._send("GET", f"{CONVERSATIONS}/{conversation_id}")
        return msgspec.json.decode(body, type=Conversation)

    def say(self, conversation_id: str, content: str) -> Accepted:
        path = f"{CONVERSATIONS}/{conversation_id}/messages"
        return msgspec.json.decode(self._post(path, json={"content": content}), type=Accepted)

    def cancel(self, turn: Turn) -> Turn:
        """As it is then: the end may come later, and be another."""
        return msgspec.json.decode(self._post(f"{TURNS}/{turn.id}/cancel"), type=Turn)

    def decide(self, turn: Turn, call_id: str, decision: str) -> Turn:
        body = {"tool_call_id": call_id, "decision": decision}
        return msgspec.json.decode(self._post(f"{TURNS}/{turn.id}/approvals", json=body), type=Turn)

    def follow(self, conversation_id: str, since: str) -> Follower:
        return Follower(self._client, f"{CONVERSATIONS}/{conversation_id}/events", since)

    def _post(self, path: str, **options: Any) -> bytes:
        """However often it is sent, it is done once: the key tells that it is the same."""
        return self._send("POST", path, headers={"Idempotency-Key": str(uuid4())}, **options)

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        """With patience: a service that restarts is no reason to lose what was typed."""
        pauses, deadline, arrived = iter(BACKOFF), time.monotonic() + PATIENCE_SECONDS, False
        while True:
            try:
                answer = self._client.request(method, path, **options)
                raise_for_problem(answer)
            except (httpx.TransportError, ConnectionLostError) as error:
                arrived |= not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if time.monotonic() > deadline:
                    doubt = f". {UNCERTAIN}" if arrived and method == "POST" else ""
                    message = f"{self._client.base_url} does not answer: {error}{doubt}"
                    raise ServerError(message) from None
                if (pause := next(pauses, BACKOFF[-1])) == BACKOFF[-1]:
                    tell(f"Waiting for {self._client.base_url} …")
                time.sleep(pause)
            else:
                return answer.content


class Follower:
    """Events of one conversation from a cursor on, across as many connections as it takes."""

    def __init__(self, client: httpx.Client, path: str, since: str) -> None:
        self.cursor = since
        self._client = client
        self._path = path
        self._again = False

    def from_last_change(self) -> None:
        """After a gap in the text: connect again and have all of the text sent anew."""
        self.cursor = self.cursor.partition(":")[0]
        self._again = True

    def connect_again(self) -> None:
        self._again = True

    def events(self) -> Generator[Event]:
        """Endless; raises ServerError when refused, or away for too long."""
        heard, failures = time.monotonic(), 0
        while True:
            with suppress(httpx.TransportError, ConnectionLostError):
                for event in self._one_connection():
                    heard, failures = time.monotonic(), 0
                    yield event
            if time.monotonic() - heard > GIVE_UP_SECONDS + SILENCE_SECONDS:
                raise ServerError("The connection was lost and could not be made again")
            time.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1

    def _one_connection(self) -> Iterator[Event]:
        self._again = False
        headers = {"Last-Event-ID": self.cursor}
        with connect_sse(self._client, "GET", self._path, headers=headers) as source:
            raise_for_problem(source.response)
            for sse in source.iter_sse():
                event = decode(sse)
                if event is None:
                    continue
                self.cursor = sse.id or self.cursor
                yield event
                if self._again:
                    return


def decode(sse: ServerSentEvent) -> Event | None:
    """None for a name we don't know: a newer server may say more."""
    kind = KINDS.get(sse.event)
    return msgspec.json.decode(sse.data, type=kind) if kind else None


def raise_for_problem(answer: httpx.Response) -> None:
    """A refusal in the server's own words; ConnectionLostError where trying again may help."""
    if answer.is_success:
        return
    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS.value:
        raise ConnectionLostError(f"status {answer.status_code}")
    with suppress(ValueError):
        problem: Any = msgspec.json.decode(answer.read())
        if isinstance(problem, dict) and "detail" in problem:
            raise ServerError(str(problem["detail"]))  # pyright: ignore[reportUnknownArgumentType]
    raise ServerError(f"The server answered {answer.status_code}")


def find_url(given: str, data: DataDir) -> str:
    """What was named, else what `up` noted in its data directory, else the usual address."""
    try:
        noted = data.url_file.read_text().strip()
    except OSError:
        noted = ""
    return (given or noted or DEFAULT_URL).rstrip("/")
