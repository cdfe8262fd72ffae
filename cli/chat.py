"""`parley chat`: a terminal client over the public HTTP API and nothing else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import assert_never

from cli.approval import ask_for_approval
from cli.console import ask, complain, tell
from cli.data_dir import DataDir
from cli.errors import ServerError
from cli.server import Follower, Server, find_url
from cli.token import find_secret, make_token
from cli.transcript import (
    Closing,
    Gap,
    Happening,
    MessageEnded,
    TextGrew,
    TextVoided,
    ToolEnded,
    ToolStarted,
    Transcript,
    TurnChanged,
    is_over,
)
from cli.views import ToolNotes, make_view
from shared.events import Turn

HELP = "/new starts a new conversation, /quit or Ctrl-D ends, Ctrl-C cancels an answer"


def chat(
    text: str | None, conversation: str, url: str, token: str, user: str, data: DataDir
) -> bool:
    """One turn if there is a text, else a loop. True if the last turn completed."""
    token = token or make_token(user, find_secret(data))
    with Server(find_url(url, data), token) as server:
        talk = Talk(server, conversation)
        try:
            return talk.loop() if text is None else talk.turn(text)
        except KeyboardInterrupt:
            tell("Left")
            return False
        finally:
            if talk.conversation_id:
                tell(f"To go on: parley chat --conversation {talk.conversation_id}")


class Talk:
    """A conversation at the terminal and how far its events are known."""

    def __init__(self, server: Server, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        self._server = server
        self._cursor = ""

    def loop(self) -> bool:
        completed = True
        tell(HELP)
        while (line := self._next_line()) is not None:
            match line.strip():
                case "":
                    continue
                case "/quit":
                    break
                case "/new":
                    self.conversation_id = self._cursor = ""
                case text:
                    completed = self._turn_or_complaint(text)
        return completed

    def _next_line(self) -> str | None:
        """None once nothing more is said: Ctrl-C and Ctrl-D leave."""
        try:
            return ask("you> ")
        except KeyboardInterrupt:
            return None

    def _turn_or_complaint(self, text: str) -> bool:
        try:
            return self.turn(text)
        except ServerError as error:
            complain(str(error))
            return False

    def turn(self, text: str) -> bool:
        """Says it and shows the answer. The cursor is from before, so that nothing is missed."""
        self._find_cursor()
        turn = self._server.say(self.conversation_id, text).turn
        follower = self._server.follow(self.conversation_id, self._cursor)
        try:
            with on_interrupt(lambda: self._cancel(turn)):
                ended = Showing(turn, follower, self._server).until_over()
        finally:
            self._cursor = follower.cursor.partition(":")[0]
        if ended.status != "completed":
            complain(ended.error.message if ended.error else f"The answer was {ended.status}")
        return ended.status == "completed"

    def _cancel(self, turn: Turn) -> None:
        """Only asks: the stream tells how the turn ended."""
        tell("Cancelling … (Ctrl-C again leaves)")
        try:
            self._server.cancel(turn)
        except ServerError as error:
            complain(str(error))
        except RuntimeError:
            pass  # the client was closed: we have left

    def _find_cursor(self) -> None:
        if not self.conversation_id:
            created = self._server.create_conversation()
            self.conversation_id, self._cursor = str(created.id), str(created.seq)
        elif not self._cursor:
            found = self._server.conversation(self.conversation_id)
            self._cursor = str(found.seq)
            if found.active_turn is not None:
                tell_what_is_awaited(found.active_turn)


class Showing:
    """One turn of a conversation on the screen, until it is over."""

    def __init__(self, turn: Turn, follower: Follower, server: Server) -> None:
        self._turn = turn
        self._server = server
        self._follower = follower
        self._transcript = Transcript()
        self._view = make_view()
        self._tools = ToolNotes()

    def until_over(self) -> Turn:
        try:
            if is_over(self._turn):
                return self._turn
            for event in self._follower.events():
                for happening in self._transcript.apply(event):
                    self._show(happening)
                if is_over(self._turn):
                    return self._turn
        finally:
            self._view.end_text()
        raise AssertionError("unreachable")

    def _show(self, happening: Happening) -> None:
        match happening:
            case Gap():
                self._follower.from_last_change()
            case Closing(reason=reason):
                if reason in {"unauthorized", "deleted"}:
                    raise ServerError(f"The server ended the stream: {reason}")
                self._follower.connect_again()
            case TurnChanged(turn=turn):
                self._follow_turn(turn)
            case _ if happening.turn_id != self._turn.id:
                pass  # somebody else's turn in the same conversation
            case TextGrew(text=text):
                self._view.text(text)
            case TextVoided():
                self._view.void()
            case MessageEnded():
                self._view.end_text()
            case ToolStarted(call=call):
                self._tools.started(call)
            case ToolEnded(message=message):
                self._tools.ended(message)
            case _:
                assert_never(happening)

    def _follow_turn(self, turn: Turn) -> None:
        if turn.id != self._turn.id:
            if self._turn.status == "queued":
                tell_what_is_awaited(turn)
            return
        if turn.status == "queued" and turn.position and turn.position > 1:
            tell(f"Waiting: {turn.position - 1} before this one")
        self._turn = turn
        if turn.status == "awaiting_approval":
            ask_for_approval(self._server, turn, self._transcript.awaited(turn.id))


def tell_what_is_awaited(turn: Turn) -> None:
    """Of a turn before ours: nothing happens until somebody decides."""
    if turn.status == "awaiting_approval":
        tell(f"Waiting: somebody must approve or deny what turn {turn.id} asks for")


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Generator[None]:
    """Within it the first Ctrl-C starts `act` and nothing else; the second one interrupts.

    `act` runs beside what goes on, so that no event is lost halfway to the screen. Nobody waits for
    its thread.
    """

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=act, daemon=True).start()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
