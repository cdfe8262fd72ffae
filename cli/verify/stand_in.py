"""A stand-in model server that speaks the Chat Completions protocol over real HTTP.

What it answers stands in the last user message, so that a test reads in one place:

    say TEXT            the text, streamed in words (the default: "You said: …")
    slow N TEXT         the same, N milliseconds between pieces
    gated TEXT          the first word, then the rest once `POST /gate/open` was called
    call NAME {JSON}    a tool call; several lines make several calls in one answer;
                        after the results, says "Done: " and the results
    again {JSON}…       like `call`, one call an answer, for several model calls in one turn
    status N            an HTTP error
    hang                accepts the request and never answers
    stall TEXT          the text, then silence
    cut TEXT            the text, then the connection closes without a finish reason
    garbage             a line that is not JSON
    html                a page of HTML with status 200
    error               an error as an event in the stream
    empty · refuse TEXT · length TEXT · filtered
    raw JSON            the JSON string as it stands, in pieces of one UTF-16 unit
    recall              says back every user message it was sent

Run it with `python -m cli.verify.stand_in PORT`. `GET /requests` shows what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORD = re.compile(r"\S+\s*|\s+")

requests: list[dict[str, Any]] = []
gate = asyncio.Event()


async def completions(request: Request) -> Response:
    body: dict[str, Any] = await request.json()
    requests.append(body)
    asked = last_user(body["messages"])
    verb, _, rest = asked.partition(" ")
    match verb:
        case "status":
            return JSONResponse({"error": {"message": "secret detail"}}, status_code=int(rest))
        case "hang":
            await asyncio.Event().wait()
        case "html":
            return HTMLResponse("<html><body>not an API</body></html>")
        case _:
            pass
    stream = answer(body, asked, verb, rest)
    return StreamingResponse(stream, media_type="text/event-stream")


async def answer(body: dict[str, Any], asked: str, verb: str, rest: str) -> AsyncIterator[str]:
    results = results_since_user(body["messages"])
    match verb:
        case "call" if not results:
            yield calls(re.findall(r"^call (\w+) (.*)$", asked, re.MULTILINE))
            yield end("tool_calls")
        case "again" if len(results) < len(steps := re.findall(r"again (\w+) (\{[^}]*\})", asked)):
            yield text(f"Step {len(results) + 1}. ")
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
            yield line({"error": {"message": "secret detail", "code": 500}})
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
            heard = [m["content"] for m in body["messages"] if m["role"] == "user"]
            async for chunk in words(" | ".join(map(str, heard))):
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


def text(piece: str) -> str:
    return delta({"content": piece})


def calls(asked: list[tuple[str, str]]) -> str:
    """All calls carry the ids that lazy providers give: the same in every answer."""
    return delta(
        {
            "tool_calls": [
                {
                    "index": index,
                    "id": f"call_{index}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
                for index, (name, arguments) in enumerate(asked)
            ]
        }
    )


def delta(change: dict[str, Any]) -> str:
    return line(chunk([{"index": 0, "delta": change, "finish_reason": None}]))


def end(reason: str) -> str:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    last = chunk([{"index": 0, "delta": {}, "finish_reason": reason}])
    return line(last) + line(chunk([]) | {"usage": usage}) + "data: [DONE]\n\n"


def chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "stand-in",
        "choices": choices,
    }


def line(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def utf16(said: str) -> list[str]:
    """One piece a UTF-16 unit: emoji come apart into lone surrogates."""
    data = said.encode("utf-16-be", "surrogatepass")
    return [chr(int.from_bytes(data[i : i + 2])) for i in range(0, len(data), 2)]


def last_user(messages: list[dict[str, Any]]) -> str:
    return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


def results_since_user(messages: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            found.insert(0, str(message["content"]))
    return found


async def shown(_: Request) -> Response:
    return JSONResponse(requests)


async def open_gate(_: Request) -> Response:
    gate.set()
    return JSONResponse({})


async def reset(_: Request) -> Response:
    requests.clear()
    gate.clear()
    return JSONResponse({})


async def health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/requests", shown),
        Route("/gate/open", open_gate, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
