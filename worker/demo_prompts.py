"""What the 135M model is shown, and how much of it: every example here was kept by measuring."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

# One slot of the server holds 2048 tokens: the examples, this much history, and the answer. Less
# than would fit, because reading 500 tokens takes two cores four seconds.
HISTORY_TOKENS = 500
ANSWER_TOKENS = 200

SYSTEM = "You are a helpful assistant."

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Prompt:
    """A request to the model. `opening` is the start of its answer, fixed by the question."""

    messages: Messages
    opening: str = ""
    settled: bool = False
    max_tokens: int = ANSWER_TOKENS


SMALL_TALK = (
    ("Tell me a joke.", "Why did the scarecrow win a prize? He was outstanding in his field!"),
    ("I like tea.", "Tea is lovely! Do you drink it every day?"),
    ("Thank you", "You're welcome!"),
    ("I have a question.", "Of course! What would you like to know?"),
    ("How are you?", "I'm doing well, thank you! How are you?"),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("Hello", "Hello! How can I help you today?"),
)

READING = (
    ('I told you: "I work in Lima." Where do I work?', "You work in Lima."),
    ('I told you: "My cat is called Tiger. I am Zoe." What is my name?', "Your name is Zoe."),
    (
        'I told you: "My favourite fruit is mango." What is my favourite fruit?',
        "Your favourite fruit is mango.",
    ),
    ('I told you: "I have three boats." How many boats do I have?', "You have three boats."),
)


ABOUT_ITSELF = re.compile(
    r"^(?:so |and )?(?:who are you|what are you|what can you do|what do you do|help)[\s?.!]*$",
    re.IGNORECASE,
)
ITSELF = (
    "I'm the demo model: a very small language model that runs on this machine. I can chat a "
    'little and keep your to-do list. Try "add a task: buy milk", "show my tasks" or "mark buy '
    'milk as done".'
)
INTRODUCED = re.compile(
    r"^(?:(?:hi|hello|hey)\b[,.! ]*)?(?:my name is|my name's|call me|i am|i'm) ([A-Z]\w*)\b"
)
SAD = re.compile(r"\bI(?: am|['\u2019]m| feel) .*\b(?:sad|ill|sick|lonely|upset|tired|down)\b")
JOKE = re.compile(r"\b(?:joke|make me laugh)\b", re.IGNORECASE)


def chat_prompt(messages: Sequence[tuple[str, str]]) -> Prompt:
    """The conversation so far, or only what the user told, when that is what they ask about."""
    earlier, (_, question) = messages[:-1], messages[-1]
    if ABOUT_ITSELF.search(question):
        return Prompt([], ITSELF, settled=True)
    if ABOUT_ME.search(question):
        told = [text for role, text in earlier if role == "user" and TOLD.search(text)]
        prompt = _recall_prompt(question, [t for t in told if not NOT_TOLD.search(t)])
        if prompt:
            return prompt
    history = [{"role": role, "content": text} for role, text in messages]
    return _opened([*_examples(SMALL_TALK), *newest(history)], _opening(question))


def _opening(said: str) -> str:
    """How an answer to this can only begin; the model goes on from there."""
    name = INTRODUCED.search(said[:1].lower() + said[1:].replace("\u2019", "'"))
    if name:
        return f"Nice to meet you, {name.group(1)}!"
    if SAD.search(said):
        return "I'm sorry to hear that."
    return "Why did the" if JOKE.search(said) else ""


def _opened(messages: Messages, opening: str, max_tokens: int = ANSWER_TOKENS) -> Prompt:
    if opening:
        messages = [*messages, {"role": "assistant", "content": opening}]
    return Prompt(messages, opening, max_tokens=max_tokens)


def arguments_prompt(name: str, description: str, request: str) -> Messages:
    system = f"Fill in the arguments of the tool {name}: {description}. Answer with JSON."
    return [{"role": "system", "content": system}, {"role": "user", "content": plain(request)}]


ABOUT_ME = re.compile(
    r"^(?:(?:so|and|ok(?:ay)?|hey),? )?"
    r"(?:what|where|who|when|which|how|do you|did i|am i|can you|could you|tell me)\b"
    r".*\b(?:my|i|about me)\b",
    re.IGNORECASE,
)
TOLD = re.compile(r"\b(?:my|i|i['\u2019]\w+|me|we|our)\b", re.IGNORECASE)
NOT_TOLD = re.compile(
    r"\?\s*$|^(?:please )?(?:tell|show|list|remind|add|create|delete|remove|mark|what|who|where|how"
    r"|when|why|can|could|do|write|give|explain)\b",
    re.IGNORECASE,
)
WHAT_IS_MY = re.compile(
    r"\bwhat(?: |['\u2019])?(is|are|was|s) my (.+?)( called)?[\s?.!]*$", re.IGNORECASE
)
WHERE_DO_I = re.compile(r"\bwhere do i (\w+)[\s?.!]*$", re.IGNORECASE)
MY_NAME = re.compile(r"\b(?:my name|who am i|who i am|am i called)\b", re.IGNORECASE)
NAMED = re.compile(r"\b(?:name|i am|i['\u2019]m|call me|this is)\b", re.IGNORECASE)
COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an the is are was do does did you your my i me am what where who when which how many"
        " much of to in on it and or can could should would tell know remember about have has"
        " called for with this that be will",
    )
)


def _recall_prompt(question: str, told: Sequence[str]) -> Prompt | None:
    """The user's own statements beside the question: it answers that far better than a thread."""
    relevant = _relevant(question, told)
    opening = _recall_opening(question)
    if not relevant:
        subject = re.fullmatch(r"Your (.+) (?:is|are)(?: called)?", opening)
        unknown = f"You have not told me your {subject.group(1)} yet." if subject else ""
        return Prompt([], unknown, settled=True) if unknown else None
    facts = " ".join(f"{plain(text).rstrip(' .!')}." for text in relevant)
    asked = {"role": "user", "content": f'I told you: "{facts}" {plain(question)}'}
    return _opened([*_examples(READING), *newest([asked])], opening, max_tokens=40)


def _recall_opening(question: str) -> str:
    """The question turned round: "what is my name?" is answered by "Your name is"."""
    if MY_NAME.search(question):
        return "Your name is"
    asked = WHAT_IS_MY.search(question)
    if asked:
        verb = "are" if asked.group(1).casefold() == "are" else "is"
        return f"Your {asked.group(2)} {verb}{' called' if asked.group(3) else ''}"
    place = WHERE_DO_I.search(question)
    return f"You {place.group(1)}" if place else ""


def _relevant(question: str, told: Sequence[str]) -> list[str]:
    """The statements about what is asked; of several the newest come last, where they count."""
    if MY_NAME.search(question):
        return [text for text in told if NAMED.search(text)][-2:]
    words = _stems(question)
    return [text for text in told if words & _stems(text)][-3:]


def _stems(text: str) -> set[str]:
    words = re.findall(r"\w+", text.casefold())
    return {word[:5] if len(word) > 5 else word.removesuffix("s") for word in words} - COMMON


def newest(history: Messages) -> Messages:
    """The end of the history that fits; of a message too long by itself, its two ends."""
    kept: Messages = []
    left = HISTORY_TOKENS
    for message in reversed(history):
        text = plain(message["content"])
        cost = estimate(text) + 8
        if cost > left and kept:
            break
        while cost > left:
            text = f"{text[: len(text) * 2 // 5]} … {text[-len(text) * 2 // 5 :]}"
            cost = estimate(text) + 8
        kept.append({"role": message["role"], "content": text})
        left -= cost
    return kept[::-1]


def estimate(text: str) -> int:
    """Tokens, rather too many than too few: only plain English words cost less than a byte each."""
    letters = sum(1 for char in text if char.isascii() and (char.isalpha() or char == " "))
    return letters // 3 + len(text.encode("utf-8", "replace")) - letters + 1


def plain(text: str) -> str:
    """Without the marks that end a message in this model's own format."""
    return text.replace("<|", "< |")


def _examples(pairs: Sequence[tuple[str, str]]) -> Messages:
    messages = [{"role": "system", "content": SYSTEM}]
    for question, answer in pairs:
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    return messages


def within(schema: Mapping[str, object], words: Sequence[str]) -> dict[str, object] | None:
    """The schema, narrowed so that text and numbers can only be copied from the user's words.

    None when it asks for something the words don't hold. What is optional is left out.
    """
    if isinstance(schema.get("anyOf"), list):
        options = cast("list[Mapping[str, object]]", schema["anyOf"])
        fitting = [found for option in options if (found := within(option, words)) is not None]
        return {"anyOf": fitting} if fitting else None
    if "enum" in schema or "const" in schema:
        return dict(schema)
    match schema.get("type"):
        case "string":
            return {"enum": list(words)} if words else None
        case "integer" | "number":
            numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
            return {"enum": numbers} if numbers else None
        case "object":
            return _object_within(schema, words)
        case "boolean" | "null":
            return dict(schema)
        case _:
            return None


def _object_within(schema: Mapping[str, object], words: Sequence[str]) -> dict[str, object] | None:
    properties = cast("Mapping[str, Mapping[str, object]]", schema.get("properties") or {})
    required = cast("Sequence[str]", schema.get("required") or [])
    narrowed = {name: within(properties[name], words) for name in required}
    if None in narrowed.values():
        return None
    return {
        "type": "object",
        "properties": narrowed,
        "required": list(required),
        "additionalProperties": False,
    }
