"""Which tool the user's words ask for, and with which arguments.

A 135M model can't be trusted with this choice: held to the tool names plus "answer", with a dozen
examples, it was right for 26 to 37 of 54 trial sentences, and it found the title in 9 of 14. So
the words decide: a tool `verb_noun` is asked for by a sentence that says so, and its arguments are
spans of that sentence, copied and never composed. What no sentence here matches is conversation,
or names another tool in full, whose arguments the model then fills in.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

VERBS = ("create", "list", "update", "complete", "delete")

# How people call the thing; a noun that isn't here goes by its own name and plural.
NOUN_WORDS = {"task": r"(?:tasks?|to-?dos?|to do|reminders?)(?: items?)?"}

# Longer messages are texts to talk about, not requests; it also bounds the work of the patterns.
LONGEST_REQUEST = 1000

OPEN_WORDS = frozenset({"open", "pending", "unfinished", "incomplete", "active", "todo", "left"})
DONE_WORDS = frozenset({"done", "completed", "complete", "finished", "closed"})


@dataclass(frozen=True)
class Intent:
    """A sentence understood: the verb, and the words after it (`what`) that name its object.

    `sure` is false for sentences that are as likely small talk ("I finished my lunch"); they only
    count when they contain a title that is known already.
    """

    verb: str
    noun: str
    what: str
    sure: bool = True
    several: bool = False


def understand(text: str, nouns: Iterable[str]) -> Intent | None:
    """The first cue that matches the sentence, or None for conversation."""
    if len(text) > LONGEST_REQUEST:
        return None
    sentence = polish(text)
    for noun in nouns:
        for cue in cues(noun):
            found = cue.pattern.search(sentence)
            if found:
                groups = found.groupdict()
                what = (groups.get("what") or "").strip()
                several = bool(groups.get("plural"))
                return Intent(cue.verb, noun, what, cue.sure, several)
    return None


LEAD = re.compile(
    r"^(?:(?:hi|hey|hello|ok|okay|so|now|then|also|and|well|great|thanks|parley)\b[\s,.!]*"
    r"|(?:please|kindly|just|can you|could you|would you|will you|can we|let['\u2019]s|let us"
    r"|i(?:['\u2019]d| would) like(?: you)? to|i want(?: you)? to|you should)\b[\s,]*)+",
    re.IGNORECASE,
)
TAIL = re.compile(r"(?:,? \b(?:please|for me|thanks|thank you)\b|[ .!?])+$", re.IGNORECASE)


def polish(text: str) -> str:
    """Without the politeness around it, so that a request starts with its verb."""
    text = re.sub(r"\s+", " ", text).strip()
    return TAIL.sub("", LEAD.sub("", text)) or text


@dataclass(frozen=True)
class Cue:
    verb: str
    pattern: re.Pattern[str]
    sure: bool = True


@cache
def cues(noun: str) -> tuple[Cue, ...]:
    """How the five verbs are asked for in English; the first that matches counts."""
    thing = NOUN_WORDS.get(noun, rf"{re.escape(noun)}s?")
    some = r"(?:(?:an?|the|my|our|that|this|another|new|some|two|three|few) )*"
    board = rf"(?:(?:my|the|our) (?:(?:{thing}) )?lists?|(?:my|the|our) (?:{thing})|{thing} lists?)"
    of = r"(?:(?:that(?:'s| is) )?(?:called|named|titled|with (?:the )?(?:title|name))\b:?|:|-)"
    done = r"(?:done|completed?|finished|closed)"
    states = r"(?:(?:all|of|the|my|our|out|me|open|pending|unfinished|done|completed|finished) )*"
    obj = rf"(?:{some}(?:{thing})\b *{of}? *)"
    delete = r"(?:delete|remove|erase|drop|scrap|cancel|discard|clear|get rid of)"
    finish = r"complete|finish|close|i(?:'ve| have)? (?:just )?(?:finished|completed|done|did)"
    brief = r"(?P<what>(?!this |that |these |the \w+$)[^:]{1,60})$"
    what = r"(?P<what>.+)$"

    def cue(verb: str, pattern: str, sure: bool = True) -> Cue:
        return Cue(verb, re.compile(pattern.replace("'", "['\u2019]"), re.IGNORECASE), sure)

    return (
        cue("create", rf"^(?:add|put|write) (?:to|on|in) {board} ?:? ?{what}"),
        cue(
            "create",
            rf"^(?:create|add|make|set up|set|start|note|write down|schedule|new|another) "
            rf"(?:me )?{some}(?:\w+ )?(?:(?P<plural>{thing}(?<=s))|{thing})\b(?! lists?\b)"
            rf"(?: for me)?(?: *{of}| (?:to|for|about|of)\b)? *(?P<what>.*)$",
        ),
        cue("create", rf"^(?:(?P<plural>{thing}(?<=s))|{thing}) ?: ?{what}"),
        cue("create", rf"^remind me (?:again )?(?:to|about|of) {what}"),
        cue("create", rf"^(?:don't|do not|never) let me forget (?:to |about )?{what}"),
        cue(
            "create",
            rf"^i (?:really )?(?:need|have|must|want|should)(?: to)? (?P<what>.+?)[,;.]? "
            rf"(?:so |and )?(?:please )?(?:add|put) (?:it|that|this) (?:to|on|in) {board}",
        ),
        cue(
            "create",
            rf"^(?:add|put|place|write|note|stick) (?P<what>.+) (?:to|on|onto|in|into) {board}$",
        ),
        cue(
            "list",
            rf"^(?:list|show|display|view|read|see|print|get|give|tell|check) {states}"
            rf"(?:(?:{thing})(?<=s)|(?:{thing}) lists?|(?<=my )lists?)(?: {done})?$",
        ),
        cue("list", rf"^(?:{states}(?:{thing})(?<=s)|{board})$"),
        cue(
            "list",
            rf"^(?:what|which|how many|do i|have i|are there)\b.*\bmy (?:{thing}\b|lists?\b)",
        ),
        cue(
            "list", rf"^(?:what|which|how many|do i|have i|are there)\b.*\b(?:{thing})(?<=s).*\bi\b"
        ),
        cue("list", rf"^(?:which|how many|do i have|are there) (?:any )?{states}(?:{thing})(?<=s)"),
        cue("list", rf"^what(?:'s| is| are) (?:left )?(?:on|in) {board}"),
        cue(
            "list",
            r"^what (?:else )?(?:do|should) i (?:still )?(?:have|need) to do"
            r"(?: (?:today|now|next|this \w+|tomorrow))?$",
        ),
        cue("update", rf"^(?:rename|retitle) {obj}?{what}"),
        cue(
            "update",
            rf"^(?:change|update|edit|set|modify) {some}(?:title|name|description) (?:of|for) "
            rf"{obj}?{what}",
        ),
        cue("update", rf"^(?:change|update|edit|modify) {obj}{what}"),
        cue("complete", rf"^mark {obj}?(?P<what>.+?) (?:as |to )?{done}$"),
        cue("complete", rf"^(?:set|move) {obj}?(?P<what>.+?) (?:as|to) {done}$"),
        cue("complete", rf"^(?:{finish}) (?:the|my) (?P<what>.+) {thing}$"),
        cue("complete", rf"^(?:complete|finish|close|check off|tick off|tick) {obj}{what}"),
        cue("complete", rf"^(?:tick|check|cross|mark) (?:off )?(?P<what>.+?)(?: off)? {board}$"),
        cue("complete", rf"^(?:tick|check|cross|mark) off {what}"),
        cue("complete", rf"^i(?:'ve| have)? (?:just )?(?:finished|completed|done|did) {obj}{what}"),
        cue("complete", rf"^{obj}(?P<what>.+) (?:is|are|was|has been) (?:now )?{done}$"),
        cue("delete", rf"^(?P<what>clear|empty) (?:out )?{board}$"),
        cue("delete", rf"^{delete} (?:the|my) (?P<what>.+) {thing}$"),
        cue("delete", rf"^{delete} {obj}{what}"),
        cue("delete", rf"^{delete} (?P<what>all|every|everything)\b.*(?:{thing}|lists?)$"),
        cue("complete", rf"^(?:complete|finish|close) (?P<what>all|every)\b.*{thing}$"),
        cue(
            "delete",
            rf"^(?:delete|remove|take|drop|cross|strike|scratch) (?P<what>.+?) (?:from|off|out of) "
            rf"{board}$",
        ),
        cue("complete", rf"^complete {brief}"),
        cue("delete", rf"^(?:delete|remove) {brief}"),
        cue("complete", rf"^(?:complete|finish|close) {what}", sure=False),
        cue(
            "complete", rf"^i(?:'ve| have)? (?:just )?(?:finished|completed|done|did) {what}", False
        ),
        cue("complete", rf"^(?P<what>.+) (?:is|are|was|has been) (?:now )?{done}$", sure=False),
        cue("delete", rf"^{delete} {what}", sure=False),
    )


QUOTED = re.compile(
    r"""(?<!\w)(?:"([^"]+)"|'(.+?)'(?!\w)|\u201c([^\u201d]+)\u201d|\u2018(.+?)\u2019(?!\w)|`([^`]+)`)"""
)
DESCRIPTION = re.compile(
    r"[\s,;.]*\b(?:with|and)?\s*(?:an?|the|its)?\s*description\b"
    r"(?:\s+(?:of|saying|is|to))?\s*:?\s+(.+)$",
    re.IGNORECASE,
)


def quoted(text: str) -> list[str]:
    return ["".join(groups).strip() for groups in QUOTED.findall(text)]


def unquote(text: str) -> str:
    """What is inside the quotation marks it begins with, else all of it, without loose ends."""
    loose = text.strip(" \t,;:")
    found = QUOTED.match(loose)
    return "".join(filter(None, found.groups())) if found else loose


def titles(intent: Intent) -> Iterator[tuple[str, str | None]]:
    """The titles (each with a description, or None) a `create` sentence asks for."""
    what, description = intent.what, None
    found = DESCRIPTION.search(what)
    if found:
        what, description = what[: found.start()], unquote(found.group(1))
    names = quoted(what)
    if not intent.several:
        names = [unquote(what)]
    elif len(names) < 2:
        names = re.split(r"\s*(?:,|;)\s*(?:and\s+)?|\s+and\s+", what)
    for name in names:
        if name.strip():
            yield name.strip(), description


def renaming(what: str, title: str) -> dict[str, str] | None:
    """The new values in "<title> to <new>", or None when the text isn't about this title."""
    pattern = rf"^\W*{re.escape(title)}\W*? (?:title |name )?(?:to|into|as|:) (.+)$"
    found = re.search(pattern, what, re.IGNORECASE)
    return {"title": unquote(found.group(1))} if found else None


def same(text: str) -> str:
    """Two texts a person would call the same are equal under this."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def wanted_state(text: str) -> frozenset[str]:
    """The words for the state the sentence asks about; empty when it doesn't say."""
    words = set(same(text).split())
    for state in (OPEN_WORDS, DONE_WORDS):
        if words & state:
            return state
    return frozenset()


def spans(text: str, longest: int = 6) -> list[str]:
    """Every run of up to `longest` words of the text, as written: what an argument may be."""
    words = list(re.finditer(r"\w(?:[\w'.@:/-]*\w)?", text))
    found = quoted(text)
    for start in range(len(words)):
        for end in range(start, min(start + longest, len(words))):
            found.append(text[words[start].start() : words[end].end()])
    return list(dict.fromkeys(found))


def is_about(text: str, noun: str) -> bool:
    """Whether it is a request about the user's things that none of the cues understood."""
    thing = NOUN_WORDS.get(noun, rf"{re.escape(noun)}s?")
    return len(text) <= LONGEST_REQUEST and bool(
        re.search(
            rf"^(?:{REQUESTS})\b.*\b(?:(?:{thing})|(?:my|the) list)\b", polish(text), re.IGNORECASE
        )
    )


REQUESTS = (
    "create|add|make|set|put|remove|delete|clear|erase|drop|mark|complete|finish|close|tick|check"
    "|rename|change|update|edit|modify|move|show|list|undo|restore|reopen|sort|share"
)


def names_tool(text: str, name: str) -> bool:
    """Whether every word of a tool's name is said, "get the weather in Rome" for `get_weather`."""
    said = set(same(text.replace("_", " ")).split())
    words = [word.casefold() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)]
    return len(words) > 1 and all(word in said for word in words)
