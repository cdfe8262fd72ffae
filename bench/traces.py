"""What traces cost a turn: `python -m bench.traces`.

Two systems at once, one that tells its spans to a collector and one that tells nobody; the rounds
alternate. The collector takes what it is told and throws it away: its CPU isn't counted, that of
making, encoding and sending the spans is. And what a span costs where nobody is told.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import timeit
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvloop

from bench.results import Figure, report
from bench.rounds import Round, joined, p50, play
from bench.stage import Stage, answers, staged
from bench.turns import CROWD, ms
from cli.plan import check_port
from cli.verify.stack import HOST
from shared.spans import Fact, Kind, span

SPANS_A_TURN = 6
"""Of the simplest one: request, queue, turn, agent, model call, end."""
TIMES = 200_000


class Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it would take longer than the rest."""


@asynccontextmanager
async def collecting() -> AsyncGenerator[str]:
    port = check_port(HOST, 0)
    program = (sys.executable, "-m", "bench.traces", "--collect", str(port))
    process = await asyncio.create_subprocess_exec(*program)
    try:
        await answers(port)
        yield f"http://{HOST}:{port}"
    finally:
        process.kill()
        await process.wait()


def untold_span() -> None:
    with span(Kind.CHAT, "model", {Fact.OPERATION: "chat", Fact.MODEL: "model"}) as told:
        told.note({Fact.INPUT_TOKENS: 1})


async def measure(rounds: int, turns: int) -> None:
    async with (
        collecting() as url,
        staged() as untold,
        staged(others={"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as told,
    ):
        alone = await both(told, untold, rounds=rounds, clients=1, turns=turns * 4)
        crowd = await both(told, untold, rounds=rounds, clients=CROWD, turns=turns)
    foreign = max(round.foreign for pair in (alone, crowd) for round in pair)
    nanoseconds = min(timeit.repeat(untold_span, number=TIMES, repeat=3)) / TIMES * 1e9
    figures = [
        compared("first token, 1 client, p50", alone, lambda r: ms(p50(r.added)), "ms"),
        compared("CPU per turn, 1 client", alone, lambda r: ms(r.cpu_per_turn), "ms"),
        compared("CPU per turn, 64 clients", crowd, lambda r: ms(r.cpu_per_turn), "ms"),
        compared("of it the API's", crowd, lambda r: cpu_of(r, "api"), "ms"),
        compared("of it the worker's", crowd, lambda r: cpu_of(r, "worker"), "ms"),
        compared("turns a second, 64 clients", crowd, lambda r: r.rate, "/s"),
        Figure("a span that nobody is told of", nanoseconds, "ns"),
        Figure(f"{SPANS_A_TURN} of them, a turn", nanoseconds * SPANS_A_TURN / 1e6, "ms"),
    ]
    report("traces", "A turn with traces, beside one without", figures, foreign=foreign)


async def both(
    told: Stage, untold: Stage, *, rounds: int, clients: int, turns: int
) -> tuple[Round, Round]:
    found: tuple[list[Round], list[Round]] = ([], [])
    for number in range(rounds + 1):
        for stage, kept in zip((told, untold), found, strict=True):
            round = await play(stage, stage.ours, clients=clients, turns=turns)
            if number:  # the first one warms
                kept.append(round)
    return joined(found[0]), joined(found[1])


def compared(
    what: str, pair: tuple[Round, Round], of: Callable[[Round], float], unit: str
) -> Figure:
    return Figure(what, of(pair[0]), unit, of(pair[1]))


def cpu_of(round: Round, part: str) -> float:
    spent = sum(seconds for name, seconds in round.cpu.items() if name.startswith(part))
    return ms(spent / round.turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=8, help="of each client in a round")
    parser.add_argument("--collect", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.collect is not None:
        ThreadingHTTPServer((HOST, asked.collect), Taker).serve_forever()
    uvloop.run(measure(asked.rounds, asked.turns))


if __name__ == "__main__":
    main()
