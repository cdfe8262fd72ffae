"""A stand-in model server that speaks the Chat Completions protocol over real HTTP.

What it answers stands in the last user message, so that a test reads in one place:

    say TEXT            the text, streamed in words (the default: "You said: …")
    slow N TEXT         the same, N milliseconds between pieces
    gated TEXT          the first word, then the rest once `POST /gate/open` was called
    call NAME {JSON}    a tool call; several lines make several calls in one answer;
                        after the results, says "Done: " and the results
    again {JSON}…       like `call`, one call an answer, for several model calls in one turn
    then …              a line behind `call` or `again`: what to do after the results instead
    flaky KIND N …      fails the first N requests for this message, then does the rest: 429
                        (with Retry-After), 500, 503, cut (ends in the middle), stall (the same
                        after a silence), reset (the connection breaks), hang (no headers for a
                        while, then 504), garbage, html, error
    status N            an HTTP error, whose body repeats the key and the question
    hang                accepts the request and never answers
    stall TEXT          the text, then silence
    cut TEXT            the text, then the connection closes without a finish reason
    garbage             a line that is not JSON
    html                a page of HTML with status 200
    error               an error as an event in the stream
    empty · refuse TEXT · length TEXT · filtered
    raw JSON            the JSON string as it stands, in pieces of one UTF-16 unit
    recall              says back every user message it was sent
    … entitle …         a last line of the first message: what to do when asked for a title

A history that a strict provider would refuse is answered 400. Run it with
`python -m cli.verify.stand_in PORT [HOST]`. `GET /requests` shows what it was asked lately,
`GET /verdict` counts all of it and names what was wrong.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cli.verify import directives
from cli.verify.stand_in_protocol import (
    calls,
    delta,
    end,
    error_event,
    first_user,
    last_user,
    problems_of,
    results_since_user,
    text,
    utf16,
)

WORD = re.compile(r"\S+\s*|\s+")
TITLE = "Give this conversation a title"
SILENCE_SECONDS = 4.0
REMEMBERED = 2000

requests: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
gate = asyncio.Event()
heard: Counter[str] = Counter()
failed: Counter[str] = Counter()
faults: Counter[str] = Counter()
tally: Counter[str] = Counter()
invalid: list[str] = []
answering: Counter[str] = Counter()
"""`now`: answers that somebody is still listening to."""


async def completions(request: Request) -> Response:
    body: dict[str, Any] = await request.json()
    messages: list[dict[str, Any]] = body["messages"]
    requests.append(body)
    tally["requests"] += 1
    heard.update(str(m.get("content")) for m in messages if m.get("role") == "user")
    asked = last_user(messages)
    if problems := problems_of(messages):
        invalid.extend(f"{problem}, asked: {asked[:80]}" for problem in problems)
        return JSONResponse({"error": {"message": "invalid history"}}, status_code=400)
    results = results_since_user(messages)
    if asked.startswith(TITLE):
        asked = directives.title(first_user(messages)) or asked
    asked = directives.due(asked, len(results))
    while (fault := directives.flaky(asked)) is not None:
        if failed[asked] < fault.tries:
            failed[asked] += 1
            faults[fault.kind] += 1
            return await fail(fault, indiscreet(request, body))
        asked = fault.rest
    verb, _, rest = asked.partition(" ")
    match verb:
        case "status":
            return JSONResponse(indiscreet(request, body), status_code=int(rest))
        case "hang":
            await asyncio.Event().wait()
        case "html":
            return page()
        case _:
            pass
    return streamed(answer(messages, asked, verb, rest, results))


def indiscreet(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The body of an error as some providers write it: with the key and what was asked."""
    key = request.headers.get("authorization")
    return {"error": {"message": f"secret detail: {key} {json.dumps(body['messages'])}"}}


async def fail(fault: directives.Flaky, refused: dict[str, Any]) -> Response:
    match fault.kind:
        case "429" | "500" | "503":
            headers = {"Retry-After": "1"} if fault.kind == "429" else {}
            return JSONResponse(refused, status_code=int(fault.kind), headers=headers)
        case "hang":
            await asyncio.sleep(SILENCE_SECONDS)
            return JSONResponse(refused, status_code=504)
        case "html":
            return page()
        case _:
            return streamed(broken(fault.kind, directives.final_text(fault.rest) or "So"))


async def broken(kind: str, said: str) -> AsyncIterator[str]:
    """The beginning of an answer, and no end."""
    pieces = WORD.findall(said)
    for word in pieces[: len(pieces) // 2]:
        yield text(word)
        await asyncio.sleep(0)
    match kind:
        case "garbage":
            yield "data: {not json\n\n"
        case "error":
            yield error_event()
        case "stall":
            await asyncio.sleep(SILENCE_SECONDS)
        case "reset":
            raise ConnectionAbortedError("in the middle of an answer, on purpose")
        case _:
            pass


async def answer(
    messages: list[dict[str, Any]], asked: str, verb: str, rest: str, results: list[str]
) -> AsyncIterator[str]:
    match verb:
        case "call" if not results:
            yield calls(directives.calls(asked))
            yield end("tool_calls")
        case "again" if len(results) < len(steps := directives.steps(asked)):
            yield text(directives.step_text(len(results) + 1))
            yield calls([steps[len(results)]])
            yield end("tool_calls")
        case "call" | "again":
            async for chunk in words("Done: " + " ".join(results)):
                yield chunk
        case "slow":
            pause, _, said = rest.partition(" ")
            async for chunk in words(said, pause=int(pause) / 1000):
                yield chunk
        case "gated":
            first, *others = WORD.findall(rest)
            yield text(first)
            await gate.wait()
            async for chunk in words("".join(others)):
                yield chunk
        case "stall":
            yield text(rest)
            await asyncio.Event().wait()
        case "cut":
            yield text(rest)
        case "garbage":
            yield "data: {not json\n\n"
        case "error":
            yield error_event()
        case "empty":
            yield end("stop")
        case "refuse":
            yield delta({"refusal": rest})
            yield end("stop")
        case "length":
            yield text(rest)
            yield end("length")
        case "filtered":
            yield end("content_filter")
        case "raw":
            for unit in utf16(json.loads(rest)):
                yield text(unit)
            yield end("stop")
        case "recall":
            said = [str(m["content"]) for m in messages if m["role"] == "user"]
            async for chunk in words(" | ".join(said)):
                yield chunk
        case "say":
            async for chunk in words(rest):
                yield chunk
        case _:
            async for chunk in words(f"You said: {asked}"):
                yield chunk


async def words(said: str, pause: float = 0.0) -> AsyncIterator[str]:
    for word in WORD.findall(said):
        yield text(word)
        await asyncio.sleep(pause)
    yield end("stop")


def streamed(pieces: AsyncIterator[str]) -> Response:
    return StreamingResponse(counted(pieces), media_type="text/event-stream")


async def counted(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    answering["now"] += 1
    try:
        async for piece in pieces:
            yield piece
    finally:
        answering["now"] -= 1


def page() -> Response:
    return HTMLResponse("<html><body>not an API</body></html>")


async def shown(_: Request) -> Response:
    return JSONResponse(list(requests))


async def verdict(_: Request) -> Response:
    """Everything since the start: how often each user message was heard, and what was wrong."""
    return JSONResponse(
        {
            "requests": tally["requests"],
            "faults": dict(faults),
            "invalid": invalid,
            "heard": dict(heard),
            "answering": answering["now"],
        }
    )


async def open_gate(_: Request) -> Response:
    gate.set()
    return JSONResponse({})


async def reset(_: Request) -> Response:
    for kept in (requests, heard, failed, faults, tally, invalid):
        kept.clear()
    gate.clear()
    return JSONResponse({})


async def health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/requests", shown),
        Route("/verdict", verdict),
        Route("/gate/open", open_gate, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host=sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",  # `reset` is an error to the server, and wanted
        timeout_graceful_shutdown=1,
    )
