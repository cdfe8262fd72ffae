"""What one client shows of one turn, whatever becomes of it; and the view that the tests share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import TypeAdapter

from api.samples import CONVERSATION, MESSAGES, TURN
from shared.events import (
    ConversationUpdated,
    Event,
    MessageCreated,
    MessageDelta,
    MessageUpdated,
    StreamClosing,
    TurnError,
    TurnUpdated,
)

with warnings.catch_warnings():
    # The package warns of its own widgets as it defines them.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.types import (
        AssistantMessageContentPartAdded,
        AssistantMessageContentPartDone,
        AssistantMessageContentPartTextDelta,
        AssistantMessageItem,
        ErrorEvent,
        NoticeEvent,
        Page,
        ProgressUpdateEvent,
        StreamOptionsEvent,
        Thread,
        ThreadCreatedEvent,
        ThreadItem,
        ThreadItemAddedEvent,
        ThreadItemDoneEvent,
        ThreadItemRemovedEvent,
        ThreadItemUpdatedEvent,
        ThreadStreamEvent,
        ThreadUpdatedEvent,
    )

    from api.chatkit.asking import Followed
    from api.chatkit.items import serialise
    from api.chatkit.relay import Relay

EVENT: TypeAdapter[Any] = TypeAdapter(ThreadStreamEvent)
ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)
ITEMS: TypeAdapter[Any] = TypeAdapter(Page[ThreadItem])
THREAD: TypeAdapter[Any] = TypeAdapter(Thread)
THREADS: TypeAdapter[Any] = TypeAdapter(Page[Thread])


class View:
    """What a client shows, put together from the events; it fails where one would have to guess."""

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.items: dict[str, ThreadItem] = {}
        self.events: list[Any] = []

    @property
    def text(self) -> str:
        """All that the assistant says."""
        shown = [item for item in self.items.values() if isinstance(item, AssistantMessageItem)]
        return "".join(part.text for item in shown for part in item.content)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def errors(self) -> list[ErrorEvent]:
        return [event for event in self.events if isinstance(event, ErrorEvent)]

    def hear(self, data: str) -> None:
        event = EVENT.validate_json(data)
        self.events.append(event)
        match event:
            case ThreadCreatedEvent() | ThreadUpdatedEvent():
                self.thread = event.thread
            case ThreadItemAddedEvent():
                assert event.item.id not in self.items
                self.items[event.item.id] = event.item
            case ThreadItemDoneEvent():
                self.items[event.item.id] = event.item
            case ThreadItemRemovedEvent():
                del self.items[event.item_id]
            case ThreadItemUpdatedEvent():
                self._update(event)
            case _:
                assert isinstance(
                    event, ErrorEvent | NoticeEvent | ProgressUpdateEvent | StreamOptionsEvent
                )

    def _update(self, event: ThreadItemUpdatedEvent) -> None:
        item = self.items[event.item_id]
        assert isinstance(item, AssistantMessageItem)
        match event.update:
            case AssistantMessageContentPartAdded(content=content):
                item.content.append(content)
            case AssistantMessageContentPartTextDelta(delta=delta):
                item.content[0].text += delta
            case AssistantMessageContentPartDone(content=content):
                assert content.text.startswith(item.content[0].text)
                item.content[0] = content
            case other:
                raise AssertionError(other)

    def hear_all(self, lines: Iterable[str]) -> View:
        for line in lines:
            if line.startswith("data: "):
                self.hear(line.removeprefix("data: "))
            else:
                assert not line or line.startswith(":"), line
        return self


QUESTION, CALLING, CALL, ANSWER = (UUID(int=number) for number in range(1, 5))
NOBODY = UUID(int=9)


def follow() -> tuple[Relay, View]:
    return Relay(Followed(TURN.conversation_id, TURN.id, QUESTION, since=0)), View()


def tell(relay: Relay, view: View, *events: Event) -> None:
    for event in events:
        for told in relay.hear(event):
            view.hear(serialise(told))


def turn(**changed: Any) -> TurnUpdated:
    values = {"status": "running", "attempt": 1, "error": None} | changed
    return TurnUpdated(1, msgspec.structs.replace(TURN, **values))


def message(message_id: UUID, role: str, content: str, **changed: Any) -> MessageCreated:
    known = msgspec.structs.replace(MESSAGES.messages[0], tool_calls=None, metadata={})
    values = {"id": message_id, "role": role, "content": content, "turn_id": TURN.id} | changed
    return MessageCreated(1, msgspec.structs.replace(known, **values))


def updated(created: MessageCreated, **changed: Any) -> MessageUpdated:
    return MessageUpdated(2, msgspec.structs.replace(created.message, **changed))


def delta(text: str, offset: int = 0, *, of: UUID = ANSWER, attempt: int = 1) -> MessageDelta:
    return MessageDelta(TURN.id, of, attempt, offset, text)


ASKED = message(QUESTION, "user", "Hello")


def test_text_grows_and_is_then_what_was_committed() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), delta("Hel"), delta("lo ", 3))
    assert view.text == "Hello "
    tell(relay, view, message(ANSWER, "assistant", "Hello you"), turn(status="completed"))
    assert view.text == "Hello you"
    assert relay.ended
    assert len(view.items) == 2
    assert view.kinds[-1] == "thread.item.done"


def test_text_of_an_earlier_attempt_is_taken_back() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), delta("Half a"), turn(attempt=2))
    assert list(view.items) == [str(QUESTION)]
    other = UUID(int=8)
    tell(relay, view, delta("late", of=ANSWER), delta("Whole", of=other, attempt=2))
    assert view.text == "Whole"
    tell(relay, view, message(other, "assistant", "Whole answer"), turn(status="completed"))
    assert list(view.items) == [str(QUESTION), str(other)]


@pytest.mark.parametrize("end", ["cancelled", "failed", "completed"])
def test_text_that_is_not_kept_is_taken_back_at_the_end(end: str) -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), delta(" "), turn(attempt=1, status=end))
    assert list(view.items) == [str(QUESTION)]


def test_text_that_begins_anew_takes_the_place_of_what_there_was() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), delta("One"), delta("Two"))
    assert view.text == "Two"


def test_a_tool_call_is_told_as_it_goes_on() -> None:
    relay, view = follow()
    work = message(CALL, "tool", "", status="running", metadata={"tool_name": "create_task"})
    tell(relay, view, ASKED, turn(), message(CALLING, "assistant", ""), work)
    assert view.kinds[-2:] == ["progress_update", "thread.item.added"]
    assert view.events[-2].text == "AI is using: create_task"
    assert list(view.items) == [str(QUESTION), str(CALL)]
    tell(relay, view, updated(work, status="completed", content="{}"))
    shown = view.items[str(CALL)].model_dump()["workflow"]
    assert shown["summary"]["title"] == "AI used: create_task"
    assert shown["tasks"][0]["status_indicator"] == "complete"


def test_what_is_said_before_a_call_is_an_item_of_its_own() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), delta("Let me see", of=CALLING))
    tell(relay, view, message(CALLING, "assistant", "Let me see"), delta("Done"))
    tell(relay, view, message(ANSWER, "assistant", "Done"), turn(status="completed"))
    assert list(view.items) == [str(QUESTION), str(CALLING), str(ANSWER)]
    assert view.text == "Let me seeDone"


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_is_told_with_its_sentence(retryable: bool) -> None:
    relay, view = follow()
    error = TurnError("model_unavailable", "The model is away.", retryable)
    tell(relay, view, ASKED, turn(status="failed", error=error))
    assert [(e.code, e.message, e.allow_retry) for e in view.errors] == [
        ("custom", "The model is away.", retryable)
    ]
    assert relay.ended


def test_a_cancelled_turn_keeps_its_text_and_says_so() -> None:
    relay, view = follow()
    kept = message(ANSWER, "assistant", "Half ", status="cancelled")
    tell(relay, view, ASKED, turn(), delta("Half "), kept, turn(status="cancelled"))
    assert view.text == "Half "
    assert view.kinds[-1] == "notice"
    assert relay.ended


def test_a_turn_that_waits_for_approval_is_told_of_no_longer() -> None:
    relay, view = follow()
    waits = message(CALL, "tool", "", status="awaiting_approval", metadata={"tool_name": "pay"})
    tell(relay, view, ASKED, turn(), waits, turn(status="awaiting_approval"))
    assert (view.kinds[-1], relay.ended) == ("notice", True)
    shown = view.items[str(CALL)].model_dump()["workflow"]
    assert shown["summary"]["title"] == "Waits for approval: pay"


def test_what_is_taken_back_is_gone() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), message(ANSWER, "assistant", "Hello"))
    tell(relay, view, turn(status="cancelled"))
    for told in relay.take_back():
        view.hear(serialise(told))
    assert not view.items


def test_what_is_withdrawn_is_gone() -> None:
    relay, view = follow()
    tell(relay, view, ASKED, updated(ASKED, status="withdrawn"))
    assert not view.items
    tell(relay, view, updated(message(NOBODY, "user", "unheard"), status="withdrawn"))


def test_other_turns_of_the_conversation_are_not_its_own() -> None:
    relay, view = follow()
    other = message(NOBODY, "user", "Another", turn_id=NOBODY)
    tell(relay, view, other, turn(id=NOBODY, status="failed"))
    tell(relay, view, MessageDelta(NOBODY, NOBODY, 1, 0, "text"))
    assert not view.events
    assert not relay.ended


@pytest.mark.parametrize(("reason", "again"), [("lifetime", True), ("deleted", False)])
def test_a_stream_that_ends_too_early_says_so(reason: Any, again: bool) -> None:
    relay, view = follow()
    tell(relay, view, ASKED, turn(), StreamClosing(reason))
    assert [error.allow_retry for error in view.errors] == [again]
    assert relay.ended


def test_whoever_retries_has_the_question_before_them() -> None:
    relay = Relay(Followed(TURN.conversation_id, TURN.id, QUESTION, 0, tells_question=False))
    view = View()
    tell(relay, view, ASKED, turn(attempt=2))
    assert not view.items


def test_a_new_title_is_told() -> None:
    relay, view = follow()
    named = msgspec.structs.replace(CONVERSATION, title="Plans")
    tell(relay, view, ConversationUpdated(3, named))
    assert view.thread is not None
    assert view.thread.title == "Plans"
