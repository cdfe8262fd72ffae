"""What must be true of the product whatever happens to its processes: a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """The name stands in a violation, the sentence in the report."""

    # What clients were answered.
    answered = "Every request is answered in the end, with 2xx, an expected 4xx or 503."
    accepted_once = "Every accepted message exists exactly once, with the content that was sent."
    nothing_uninvited = "No message of a user and no turn exists that nobody asked for."
    refused_nothing = "A message that was refused (409 conversation_busy) exists nowhere."
    doubled_once = "A request sent twice with one key was answered the same and made one turn."
    key_remembered = "A key repeated after everything ended answers what was answered before."
    tenants = "Nobody sees a conversation or a turn of somebody else: 404."
    # Turns.
    ended = "Every turn ends: nothing is queued or running, and a client sees it."
    one_at_a_time = "Turns of a conversation run one at a time, in the order they were accepted."
    final_answer = "A completed turn has one final answer: the whole of what its message asks for."
    kept_text = "Text kept of a cancelled or failed turn is the beginning of what the model says."
    cancel_holds = "A turn whose cancel was accepted ends as cancelled, unless it is retried."
    cancelled_by_asking = "A turn is cancelled only because a client asked."
    known_failures = (
        "A turn fails only by faults that the script gave the model, or by many crashes."
    )
    withdrawn_whole = "A rolled back turn is cancelled and all of its messages are withdrawn."
    steered_heard = "A steered text was in a model call before its turn completed."
    # Tools.
    effect_once = "Every result of create_task has its one task, and every task its one result."
    calls_closed = "Every tool call of an ended turn has one result, and no message is running."
    asked_done = "A completed turn did everything its message asked for, each thing once."
    # Numbers.
    numbers = "Every change of a conversation has a number of its own, up to the conversation's."
    counted = "A conversation counts the messages that it shows."
    # What readers saw.
    stream_form = "A stream is well-formed events of the closed set of names."
    event_order = "Numbers of a stream or of polling only rise; no event is told twice."
    event_number = "The number in an event's data is the number of its id."
    text_offset = "A piece of text begins exactly where the text seen so far ends."
    text_attempt = "Text is told only of the running attempt, and attempts never go back."
    text_prefix = "Text seen while it was streamed is the beginning of what is committed."
    over_is_over = "After a turn's end nothing more of it is told, unless it is retried."
    closing_reason = "A stream closes for a reason that is on the list."
    converges = "What a reader has seen is, in the end, what GET shows, message by message."
    # What the model saw.
    model_input = "The model was only ever sent valid histories."


@dataclass(frozen=True)
class Violation:
    invariant: str
    """The name of an `Invariant`."""
    detail: str

    @property
    def sentence(self) -> str:
        return Invariant[self.invariant].value


@dataclass(frozen=True)
class Verdict:
    violations: list[Violation]
    checked: dict[str, int]
    """How many things each check looked at: a check that saw nothing proves nothing."""
