"""What the tools answered, read without knowing the tools, and said in plain sentences.

The 135M model isn't allowed to phrase results: it would report tasks that don't exist. A sentence
here claims only what the tool's answer shows; an answer that can't be read is quoted as it is.
"""

import ast
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from worker.chat_model import Part
from worker.demo_routing import DONE_WORDS, OPEN_WORDS, same

MAX_QUOTE = 500


@dataclass(frozen=True)
class Result:
    """One finished tool call: who was called, with what, and the text that came back."""

    tool: str
    arguments: Mapping[str, object]
    output: str

    @property
    def data(self) -> object:
        """The answer as data: JSON, or a Python literal (what the SDK makes of a dict)."""
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(self.output)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
        return None


@dataclass(frozen=True)
class Record:
    """A thing a tool told of: its id, its title, and its state if it has one."""

    id: str
    title: str
    state: str

    @property
    def is_done(self) -> bool:
        return same(self.state) in DONE_WORDS

    def is_in(self, words: frozenset[str]) -> bool:
        return not words or not self.state or self.is_done == (words == DONE_WORDS)


def records(data: object, depth: int = 0) -> list[Record]:
    """Every record in an answer, in order, however it is wrapped."""
    if depth > 4:
        return []
    if isinstance(data, list):
        items = cast("list[object]", data)
        return [record for item in items for record in records(item, depth + 1)]
    if not isinstance(data, dict):
        return []
    fields = cast("dict[str, object]", data)
    title, state = (
        fields.get("title", fields.get("name")),
        fields.get("status", fields.get("state")),
    )
    if isinstance(title, str):
        key = next((str(v) for k, v in fields.items() if k == "id" or k.endswith("_id")), "")
        if state is None and isinstance(fields.get("completed"), bool):
            state = "completed" if fields["completed"] else "open"
        return [Record(key, title, state if isinstance(state, str) else "")]
    return [record for value in fields.values() for record in records(value, depth + 1)]


FAILED_STATES = frozenset({"error", "failed", "failure", "not found", "cancelled", "unknown"})


def failure(result: Result) -> str | None:
    """Why the call didn't work, or None when its answer shows no failure."""
    data = result.data
    if isinstance(data, dict):
        fields = cast("dict[str, object]", data)
        reason = next((fields[k] for k in ("error", "errors", "detail") if fields.get(k)), None)
        if isinstance(reason, dict):
            told = cast("dict[str, object]", reason)
            reason = told.get("message") or told.get("detail") or told.get("code") or str(told)
        state = fields.get("status")
        failed = fields.get("ok") is False or fields.get("success") is False
        failed = failed or (isinstance(state, str) and same(state) in FAILED_STATES)
        if reason or failed:
            return str(reason or fields.get("message") or state or "the tool said no")
        return None
    words = set(same(result.output[:MAX_QUOTE]).split())
    if data is None and words & {
        "error",
        "failed",
        "failure",
        "unknown",
        "not",
        "cannot",
        "unable",
    }:
        return result.output[:MAX_QUOTE]
    return None


def say(verb: str, noun: str, results: list[Result], listed: list[Record], state: str) -> str:
    """The sentences for the results of one verb, one a line."""
    if verb == "list":
        return "\n\n".join(_list(noun, result, state) for result in results)
    lines = [_change(verb, noun, result, listed) for result in results]
    return "\n".join(lines)


def quote(result: Result) -> str:
    """The answer of a tool nothing is known about."""
    reason = failure(result)
    if reason:
        return _sorry(result.tool, reason)
    return f"`{result.tool}` answered: {result.output[:MAX_QUOTE]}"


def _code(result: Result) -> str:
    """The error's code, where a tool gives one."""
    found = re.search(r'"code":\s*"(\w+)"', result.output[:MAX_QUOTE])
    return found.group(1) if found else ""


def _sorry(what: str, reason: str, code: str = "") -> str:
    if code == "outcome_unknown":
        return f"I don't know whether {what} worked: {reason.strip()}"
    return f"Sorry, {what} did not work: {reason.strip()}"


def _list(noun: str, result: Result, state: str) -> str:
    reason = failure(result)
    if reason:
        return _sorry("looking at your list", reason)
    if result.data is None:
        return quote(result)
    words = next((w for w in (OPEN_WORDS, DONE_WORDS) if state in w), frozenset[str]())
    found = [record for record in records(result.data) if record.is_in(words)]
    kind = f"{state} {noun}" if state else noun
    if not found:
        return f"You have no {kind}s."
    more = isinstance(result.data, dict) and '"more":true' in result.output.replace(" ", "")
    head = (
        f"You have {'at least ' if more else ''}{len(found)} {kind}{'s' if len(found) > 1 else ''}:"
    )
    lines = [f"- {record.title}{' (done)' if record.is_done else ''}" for record in found]
    return "\n".join([head, *lines])


def _change(verb: str, noun: str, result: Result, listed: list[Record]) -> str:
    told = records(result.data)
    ids = {str(value) for value in result.arguments.values()}
    before = next((record for record in listed if record.id in ids), None)
    asked = result.arguments.get("title")
    title = told[0].title if told else before.title if before else str(asked or noun)
    reason = failure(result)
    if reason:
        action = "changing" if verb == "update" else f"{verb[:-1]}ing"
        name = before.title if before else title
        return _sorry(f'{action} the {noun} "{name}"', reason, _code(result))
    if result.data is None:
        return quote(result)
    match verb:
        case "create":
            return f'I created the {noun} "{title}".'
        case "complete" if told and told[0].state and not told[0].is_done:
            return f'The {noun} "{title}" is still {told[0].state}.'
        case "complete":
            return f'I marked "{title}" as done.'
        case "delete":
            return f'I deleted the {noun} "{before.title if before else title}".'
        case _ if before and told and same(before.title) != same(title):
            return f'I renamed "{before.title}" to "{title}".'
        case _:
            return f'I updated the {noun} "{title}".'


AUXILIARY = r"\bI(?:['\u2019]\w*)?(?: (?:have|will|am|just|already|can|now|going|to))*"
DEED = r"(?:add|creat|delet|remov|mark|complet|renam|updat|schedul|set|remind|sav)\w*"
MAY_BECOME_CLAIM = re.compile(rf"{AUXILIARY}(?: (?:\w*|{DEED} [^.!?\n]*))?$")
CLAIM = re.compile(
    rf"{AUXILIARY} {DEED} [^.!?\n]*\b(?:tasks?|lists?|to-?dos?|reminders?|calendar)\b"
    r"[^.!?\n]*[.!?\n]?"
)
NO_DEED = 'I can\'t do that. You can say, for example, "add a task: buy milk".'


async def truthful(parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """The model's chat, without the sentences in which it claims to have changed a list.

    In chat nothing was done, whatever it says. Text is held back only from an "I" that could begin
    such a claim, until it is clear that it doesn't.
    """
    held, said = "", False
    async with aclosing(parts):
        async for part in parts:
            if not isinstance(part, str):
                yield part
                continue
            held += part
            if not MAY_BECOME_CLAIM.search(held):
                clean = CLAIM.sub("", held)
                said = said or bool(clean.strip())
                yield clean
                held = ""
    clean = CLAIM.sub("", held)
    yield clean
    if not said and not clean.strip():
        yield NO_DEED
