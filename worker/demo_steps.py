"""The next step of a turn: run tools, say what is settled, have arguments filled in, or chat."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from agents import FunctionTool, Tool

from worker.chat_model import Items, ToolCall, item_text, plain_text
from worker.demo_results import Record, Result, failure, quote, records, say
from worker.demo_routing import (
    VERBS,
    Intent,
    is_about,
    names_tool,
    renaming,
    same,
    titles,
    understand,
    unquote,
    wanted_state,
)


@dataclass(frozen=True)
class Say:
    """Words that need no model, because only these would be true."""

    text: str


@dataclass(frozen=True)
class Run:
    calls: list[ToolCall]


@dataclass(frozen=True)
class FillIn:
    """The user named this tool; the model has to find its arguments in the user's words."""

    tool: FunctionTool


@dataclass(frozen=True)
class Chat:
    pass


Step: TypeAlias = Say | Run | FillIn | Chat


@dataclass(frozen=True)
class Conversation:
    """The run's input, sorted: who said what, and which tools answered in the current turn.

    What was said about tool results is left out: chat that sees it invents more of the same.
    """

    messages: list[tuple[str, str]]
    known: list[Record]
    results: list[Result]

    @property
    def request(self) -> str:
        return next((text for role, text in reversed(self.messages) if role == "user"), "")


def read(items: Items) -> Conversation:
    messages: list[tuple[str, str]] = []
    known: list[Record] = []
    results: list[Result] = []
    calls: dict[object, tuple[str, dict[str, object]]] = {}
    for item in items:
        fields = cast("Mapping[str, object]", item)
        role, kind = fields.get("role"), fields.get("type")
        if role == "user":
            results = []
            messages.append(("user", item_text(item)))
        elif role == "assistant" and not results:
            messages.append(("assistant", item_text(item)))
        elif kind == "function_call":
            arguments = _object(fields.get("arguments"))
            calls[fields.get("call_id")] = (str(fields.get("name")), arguments)
        elif kind == "function_call_output":
            name, arguments = calls.get(fields.get("call_id"), ("the tool", {}))
            output = fields.get("output")
            text = output if isinstance(output, str) else plain_text(output)
            results.append(Result(name, arguments, text))
            known.extend(records(results[-1].data))
    return Conversation(messages, known, results)


def next_step(conversation: Conversation, tools: Sequence[Tool]) -> Step:
    """Tools of the `verb_noun` kind are chosen by words; others when the user names them."""
    offered = {tool.name: tool for tool in tools if isinstance(tool, FunctionTool)}
    families = _families(offered)
    intent = understand(conversation.request, families)
    if intent and (intent.sure or _named(intent.what, conversation.known)):
        family = families[intent.noun]
        if intent.verb in family:
            return _Task(intent, family, conversation).step()
    if conversation.results:
        return Say("\n\n".join(quote(result) for result in conversation.results))
    named = next((t for t in offered.values() if names_tool(conversation.request, t.name)), None)
    if named:
        return FillIn(named)
    puzzling = next((noun for noun in families if is_about(conversation.request, noun)), None)
    return Say(_help(puzzling, families[puzzling])) if puzzling else Chat()


def _help(noun: str, family: Mapping[str, FunctionTool]) -> str:
    """Said instead of chat, in which the model would claim to have done what was asked."""
    verbs = ", ".join(verb for verb in VERBS if verb in family)
    return (
        f"I did not understand what to do with your {noun}s. I can {verbs} them, when you say it "
        f'in plain words and name the {noun}, as in "add a {noun}: buy milk".'
    )


@dataclass(frozen=True)
class _Task:
    """A request about one kind of thing, `family` being its tools by verb."""

    intent: Intent
    family: dict[str, FunctionTool]
    conversation: Conversation

    def step(self) -> Step:
        if self._done(self.intent.verb):
            return Say(self._report())
        match self.intent.verb:
            case "create":
                return self._create()
            case "list":
                return Run([ToolCall(self.family["list"].name, self._listing())])
            case _:
                return self._change()

    def _done(self, verb: str) -> list[Result]:
        return [r for r in self.conversation.results if r.tool == self.family[verb].name]

    def _report(self) -> str:
        intent = self.intent
        state = next(
            (w for w in same(self.conversation.request).split() if w in self._states()), ""
        )
        results = self._done(intent.verb)
        return say(intent.verb, intent.noun, results, self.conversation.known, state)

    def _states(self) -> frozenset[str]:
        return (
            wanted_state(self.conversation.request) if self.intent.verb == "list" else frozenset()
        )

    def _create(self) -> Step:
        tool = self.family["create"]
        calls = [
            ToolCall(tool.name, _json({"title": title, "description": about}, tool))
            for title, about in titles(self.intent)
        ]
        return Run(calls) if calls else Say(f"What should the {self.intent.noun} be called?")

    def _listing(self) -> str:
        """The arguments of `list`: the state asked for, in the tool's own word for it."""
        tool, words = self.family["list"], self._states()
        for name, schema in _properties(tool).items():
            for value in _choices(schema):
                if value in words:
                    return _json({name: value}, tool)
        return "{}"

    def _change(self) -> Step:
        """Ids are in no sentence: they come from a listing in this turn, asked for if missing."""
        if "list" not in self.family:
            return Chat()
        listings = self._done("list")
        if not listings:
            return Run([ToolCall(self.family["list"].name, "{}")])
        if failure(listings[-1]):
            return Say(say("list", self.intent.noun, listings[-1:], [], ""))
        listed = [record for record in records(listings[-1].data) if record.id]
        chosen = _choose(self.intent, listed, self.conversation.known)
        if isinstance(chosen, str):
            return Say(chosen)
        tool = self.family[self.intent.verb]
        calls = [ToolCall(tool.name, _json(self._with_id(tool, r), tool)) for r in chosen]
        if self.intent.verb == "update" and not self._new_values(chosen[0]):
            return Say(f'What should I change "{chosen[0].title}" to?')
        return Run(calls)

    def _with_id(self, tool: FunctionTool, record: Record) -> dict[str, object]:
        key = next((k for k in _properties(tool) if k == "id" or k.endswith("_id")), "id")
        values = self._new_values(record) if self.intent.verb == "update" else {}
        return {key: record.id, **values}

    def _new_values(self, record: Record) -> dict[str, str]:
        values = renaming(self.intent.what, record.title) or {}
        about = re.search(r"\bdescription (?:of|for)\b", self.conversation.request, re.IGNORECASE)
        return {"description": values["title"]} if about and values else values


ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
PRONOUNS = frozenset({"it", "that", "this", "that one", "this one", "that task", "this task"})
EVERYTHING = re.compile(r"^(?:all|every|everything|them all|clear|empty)\b", re.IGNORECASE)


def _choose(intent: Intent, listed: list[Record], known: list[Record]) -> list[Record] | str:
    """The records meant, or what to ask. A title in the user's words beats every other reading."""
    what = unquote(intent.what) if intent.verb != "update" else intent.what
    if not listed:
        return f"Your list has no {intent.noun}s."
    matches = _named(what, listed)
    if matches:
        return matches[:1]
    if EVERYTHING.search(what) and intent.verb != "update":
        return [r for r in listed if not (intent.verb == "complete" and r.is_done)] or "All done."
    if same(what) in PRONOUNS:
        ids = [record.id for record in known[: -len(listed)]]
        matches = [r for r in listed if r.id == (ids[-1] if ids else "")]
        return matches or f"Which {intent.noun} do you mean?"
    number = re.fullmatch(r"(?:number |#|the )?(\w+)(?: one)?", what.strip(), re.IGNORECASE)
    word = number.group(1).casefold() if number else ""
    place = int(word) - 1 if word.isascii() and word.isdigit() else ORDINALS.get(word, len(listed))
    if -1 <= place < len(listed) and word != "0":
        return [listed[place]]
    partial = [r for r in listed if same(what) and f" {same(what)} " in f" {same(r.title)} "]
    if len(partial) == 1:
        return partial
    if partial:
        names = ", ".join(f'"{record.title}"' for record in partial)
        return f"Which {intent.noun} do you mean: {names}?"
    return f'I found no {intent.noun} called "{what}" on your list.'


def _named(text: str, among: Sequence[Record]) -> list[Record]:
    """The records whose title is in the text, the longest title first, the open ones first."""
    words = f" {same(text)} "
    found = [r for r in among if same(r.title) and f" {same(r.title)} " in words]
    return sorted(
        found, key=lambda r: (not words.startswith(f" {same(r.title)} "), -len(r.title), r.is_done)
    )


def _families(offered: Mapping[str, FunctionTool]) -> dict[str, dict[str, FunctionTool]]:
    """The tools named `verb_noun`, by noun and verb."""
    families: dict[str, dict[str, FunctionTool]] = {}
    for name, tool in offered.items():
        verb, _, noun = name.partition("_")
        if verb in VERBS and noun:
            families.setdefault(noun.removesuffix("s"), {})[verb] = tool
    return families


def _json(values: Mapping[str, object], tool: FunctionTool) -> str:
    """The arguments the tool knows, without those that have no value."""
    known = _properties(tool)
    given = {k: v for k, v in values.items() if v is not None and k in known}
    return json.dumps(given, ensure_ascii=False)


def _properties(tool: FunctionTool) -> dict[str, object]:
    properties = tool.params_json_schema.get("properties")
    return cast("dict[str, object]", properties) if isinstance(properties, dict) else {}


def _choices(schema: object) -> list[str]:
    """The values an enum property may have, also where it may be null besides."""
    if not isinstance(schema, dict):
        return []
    fields = cast("dict[str, object]", schema)
    found = fields.get("enum")
    values = cast("list[object]", found) if isinstance(found, list) else []
    options = fields.get("anyOf")
    for option in cast("list[object]", options) if isinstance(options, list) else []:
        values = [*values, *_choices(option)]
    return [value for value in values if isinstance(value, str)]


def _object(text: object) -> dict[str, object]:
    try:
        value: object = json.loads(str(text))
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
