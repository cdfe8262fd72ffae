"""`parley doctor` on the model, the API's address and the machine, and the command as a whole."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from cli.data_dir import DataDir
from cli.doctor_api import Expected, examine_api
from cli.doctor_children import ask_worker
from cli.doctor_findings import Finding, State, checked, exit_code, failure, ok, unknown, warning
from cli.doctor_machine import check_disk, check_files
from cli.doctor_model import of_probe
from cli.doctor_settings import check_processes
from shared.probed import Probed
from tests.fixtures.settings import lonely_settings
from tests.fixtures.stand_in import StandIn, pointing_at
from worker.probe import probe

SECRET = "sesame-of-the-provider"
WORDS = "one two three four five"
CHUNK = json.dumps({"choices": [{"delta": {"content": WORDS}}]})
END = json.dumps({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]})


class Misbehaving(BaseHTTPRequestHandler):
    """A provider whose fault stands in the path: /401/v1/chat/completions."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        match self.path.split("/")[1]:
            case "hang":
                assert isinstance(self.server, Stranger)
                self.server.shutting.wait(10)
            case "whole":
                self.answer(200, json.dumps({"choices": [{"message": {"content": WORDS}}]}))
            case "once":
                time.sleep(0.6)  # a buffer before us that waits for the end
                events = (CHUNK, CHUNK, END, "[DONE]")
                self.answer(200, "".join(f"data: {event}\n\n" for event in events))
            case "html":
                self.answer(200, "data: <html>\n\n")
            case status:
                self.answer(int(status), json.dumps({"error": {"message": SECRET}}))

    def do_GET(self) -> None:
        """A stranger on the API's port, who has a /health/ready too."""
        self.answer(200, '{"status":"ready"}')

    def answer(self, status: int, body: str) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Stranger(ThreadingHTTPServer):
    shutting: threading.Event


@pytest.fixture(scope="module")
def stranger() -> Generator[str]:
    with Stranger(("127.0.0.1", 0), Misbehaving) as server:
        server.shutting = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutting.set()
        server.shutdown()
        thread.join()


async def asked(seconds: float = 10, **settings: Any) -> Finding:
    """As the command asks, without the process between."""
    found = await probe(lonely_settings(**settings), seconds)
    said = msgspec.json.encode(found)
    assert SECRET.encode() not in said
    assert WORDS.encode() not in said
    return of_probe(msgspec.json.decode(said, type=Probed))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "state", "said", "remedy"),
    [
        ("401", State.failure, "model_unauthorized, status 401", "Correct OPENAI_API_KEY"),
        ("404", State.failure, "model_rejected, status 404", "Correct PARLEY_MODEL"),
        ("429", State.failure, "model_rate_limited, status 429", "credit"),
        ("503", State.failure, "model_unavailable, status 503", "status page"),
        ("hang", State.failure, "model_timeout", "firewall"),
        ("whole", State.failure, "model_incomplete", "doesn't stream"),
        ("html", State.failure, "model_invalid", "OPENAI_BASE_URL"),
        ("once", State.warning, "whole answer at once, after 0.", "doesn't stream"),
    ],
)
async def test_a_model_that_does_not_answer_as_it_should(
    stranger: str, fault: str, state: State, said: str, remedy: str
) -> None:
    found = await asked(
        0.3 if fault == "hang" else 10,
        parley_model="m",
        openai_base_url=f"{stranger}/{fault}/v1",
        openai_api_key=SecretStr(SECRET),
    )
    assert found.state is state
    assert said in found.said
    assert remedy in found.remedy


@pytest.mark.anyio
async def test_a_model_that_streams_or_is_away_or_is_none(stand_in: StandIn) -> None:
    found = await asked(**pointing_at(stand_in))
    assert found.state is State.ok
    assert "stand-in at 127.0.0.1:" in found.said
    assert "to the first token" in found.said
    (request,) = stand_in.requests
    assert request["stream"] is True
    assert "create_task" in {tool["function"]["name"] for tool in request["tools"]}
    found = await asked(parley_model="m", openai_base_url="http://127.0.0.1:1/v1")
    assert found.said == "m at 127.0.0.1:1: model_unreachable"
    assert "HTTPS_PROXY" in found.remedy
    found = await asked(parley_model="m", openai_base_url="http://u:sesame@127.0.0.1:1/v1")
    assert found.said == "m at 127.0.0.1:1: internal"
    assert "user and password in it" in found.remedy
    assert (await asked()).said == "echo, which needs nothing"
    found = await asked(parley_model="")
    assert found.said.startswith("a worker would not start: No model")
    assert found.state is State.failure


@pytest.mark.anyio
async def test_a_probe_that_says_nothing_is_ended() -> None:
    began = time.monotonic()
    found = of_probe(await ask_worker(0.05))
    assert time.monotonic() - began < 5
    assert found.state is State.failure
    assert "python -m worker.probe" in found.remedy


@pytest.mark.anyio
async def test_who_is_at_the_address_of_the_api(stranger: str) -> None:
    port, api = await examine_api(stranger, Expected.maybe)
    assert port.state is State.failure
    assert "is taken by something else" in port.said
    assert "--port" in port.remedy
    assert api.state is State.unknown
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        port, api = await examine_api(url, Expected.free)
        assert "can't be used" in port.said
        port, api = await examine_api(url, Expected.running)
        assert (port.state, api.state) == (State.unknown, State.failure)
    port, api = await examine_api(url, Expected.free)
    assert (port.state, api.state) == (State.ok, State.unknown)
    port, api = await examine_api(url, Expected.maybe, nothing_refused)
    assert (port.state, api.state) == (State.ok, State.warning)
    assert "Start `parley api`" in api.remedy
    port, api = await examine_api(url, Expected.maybe, no_way_in)
    assert api.state is State.failure
    assert "PARLEY_JWT_SECRET: no" in api.said


@pytest.mark.anyio
async def test_one_that_takes_the_connection_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cli.doctor_api.ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        port, _ = await examine_api(url, Expected.maybe)
    assert port.state is State.failure
    assert "doesn't answer" in port.said


async def nothing_refused() -> list[str] | None:
    return []


async def no_way_in() -> list[str] | None:
    return ["PARLEY_JWT_SECRET: no"]


@pytest.mark.anyio
async def test_no_check_fails_or_hangs() -> None:
    async def hang() -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    async def fail() -> Finding:
        raise ValueError(SECRET)

    checks: tuple[tuple[Callable[[], Awaitable[Finding]], str], ...] = (
        (hang, "no answer within 0.01 s"),
        (fail, "the check itself failed (ValueError)"),
    )
    for check, said in checks:
        found = await checked("x", check, 0.01)
        assert (found.state, found.said) == (State.failure, said)
        assert found.remedy
    assert exit_code([ok("x", ""), warning("x", "", "do"), unknown("x", "")]) == 0
    assert exit_code([ok("x", ""), failure("x", "", "do")]) == 1


def test_room_on_the_disk_and_files_that_may_be_open(tmp_path: Path) -> None:
    endless = 2**62
    assert check_disk(tmp_path / "not" / "made", low=0, least=0).state is State.ok
    found = check_disk(tmp_path, low=endless, least=0)
    assert (found.state, "Make room soon" in found.remedy) == (State.warning, True)
    found = check_disk(tmp_path, least=endless)
    assert (found.state, "Make room" in found.remedy) == (State.failure, True)
    states = [check_files(200, limit).state for limit in (210, 300, 1024, 65_536)]
    assert states == [State.failure, State.warning, State.ok, State.ok]
    assert "ulimit" in check_files(200, 300).remedy
    assert check_files(0, 300).state is State.warning


def test_a_process_of_up_that_is_down_is_told_with_its_log(tmp_path: Path) -> None:
    data = DataDir(tmp_path).create()
    assert check_processes(data) is None
    data.pid_file("worker-1").write_text("999999999")
    found = check_processes(data)
    assert found is not None
    assert found.said == "worker-1 is down"
    assert str(data.log_file("worker-1")) in found.remedy
