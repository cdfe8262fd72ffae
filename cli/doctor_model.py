"""Whether the model answers, and as it comes: what `worker.probe` found, in words and remedies."""

from __future__ import annotations

from cli.doctor_findings import Finding, failure, lasting, ok, warning
from shared.probed import Probed

MODEL = "model"
SLOW_SECONDS = 5.0
"""Until the first piece of a short answer."""
AT_ONCE_SECONDS = 0.5
"""Ten words that a model takes longer to say would have come in pieces."""
KEY = "Correct OPENAI_API_KEY or OPENROUTER_API_KEY: it must be of the provider that is asked."
NO_STREAM = (
    "Ask the endpoint for a streamed answer by hand: it, or a proxy before it, doesn't stream "
    "Chat Completions."
)
STATUSES = {
    400: "Take a model that can be given tools, and an endpoint that speaks Chat Completions.",
    401: KEY,
    402: "Put credit on the provider's account.",
    403: KEY,
    404: "Correct PARLEY_MODEL, or OPENAI_BASE_URL: it ends before /chat/completions, mostly in "
    "/v1; some providers answer so for a model that can't be given tools.",
    429: "Wait, or have the provider raise the limit or put credit on the account.",
}
REMEDIES = {
    "model_unreachable": "Correct OPENAI_BASE_URL, start what it names, or let this machine reach "
    "it: DNS, firewall, HTTPS_PROXY.",
    "model_timeout": "Look at the provider's status page or at the server's load; a firewall that "
    "drops packets looks the same.",
    "model_invalid": "Correct OPENAI_BASE_URL: what answers there speaks no Chat Completions.",
    "model_incomplete": NO_STREAM,
    "internal": "Correct OPENAI_BASE_URL: user and password in it don't go with a key.",
}
ELSE = "Look at the provider's status page, and at what the model's server logs."


def of_probe(found: Probed | None) -> Finding:
    if found is None:
        said = "nothing came of asking in time: this machine is too busy, or a worker can't load"
        remedy = "Give it longer with --model-seconds, or run `python -m worker.probe` by hand."
        return failure(MODEL, said, remedy)
    if found.problems:
        said = f"a worker would not start: {'; '.join(found.problems)}"
        return failure(MODEL, said, "Correct them in the environment; .env.example names all.")
    if found.kind == "echo":
        return ok(MODEL, "echo, which needs nothing")
    name = f"{found.model} at {found.at}" if found.at else found.model
    if found.error:
        return of_error(name, found)
    if found.kind == "provider" and found.pieces == 1 and found.seconds > AT_ONCE_SECONDS:
        said = f"{name} gave its whole answer at once, after {lasting(found.seconds)}"
        return warning(MODEL, said, NO_STREAM)
    return answered(name, found)


def of_error(name: str, found: Probed) -> Finding:
    """`model_unauthorized`, status 401: as turns would fail, and what the provider said."""
    status = f", status {found.status}" if found.status else ""
    remedy = STATUSES.get(found.status) or REMEDIES.get(found.error, ELSE)
    return failure(MODEL, f"{name}: {found.error}{status}", remedy)


def answered(name: str, found: Probed) -> Finding:
    if found.pieces == 0:
        return ok(MODEL, f"{name} answers, though without a word")
    said = f"{name} streams, {lasting(found.first_seconds)} to the first token"
    if found.first_seconds > SLOW_SECONDS and found.kind == "provider":
        remedy = "Take a faster model or provider: people see nothing for so long."
        return warning(MODEL, said, remedy)
    return ok(MODEL, said)
