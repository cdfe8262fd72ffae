"""The product as the README tells it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.fixtures.sse import Reader, listen, parse
from tests.fixtures.stand_in import StandIn
from tests.fixtures.up import COMMAND, Up, parley
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ROOT = Path(__file__).parent.parent.parent


def headers_of(up: Up, user: str = "alice") -> dict[str, str]:
    token = parley("token", "--user", user, "--data-dir", str(up.data.root)).stdout.strip()
    return {"Authorization": f"Bearer {token}"}


async def test_the_curls_of_the_readme_work(running: Up, stand_in: StandIn) -> None:
    assert not stand_in.requests
    script = readme_script("# 3. Or poll").replace("http://127.0.0.1:8000", await running.ready())
    done = await run_script(running, script.replace("--max-time 10", "--max-time 2"))
    accepted, _, rest = done.stdout.partition(b": connected")
    stream, _, polled = rest.rpartition(b"\n\n")
    assert json.loads(accepted)["turn"]["status"] == "queued"
    events = parse(b": connected" + stream + b"\n\n")
    assert [e.name for e in events][-1] == "turn.updated"
    assert events[-1].data["turn"]["status"] == "completed"
    assert [m["role"] for m in json.loads(polled)["messages"]] == ["user", "assistant"]


async def test_every_route_answers_as_the_readme_walks_through_them(running: Up) -> None:
    """Each document's own routes, and what it says of their answers."""
    script = readme_script("# The chat persistence service")
    script = script.replace("http://127.0.0.1:8000", await running.ready())
    done = await run_script(running, script.replace("--max-time 10", "--max-time 2"))
    output = done.stdout.decode()
    assert "event: turn.updated" in output, done.stderr.decode()
    lines = [line for line in output.splitlines() if re.match(r"[A-Z]{3,6} /", line)]
    answers = [answer_of(line) for line in lines]
    statuses = [answer.status for answer in answers]
    assert statuses == [200] * 9 + [403, 201] + [200] * 6 + [202, 200, 200, 204, 404], output
    first, second, listed, shown = (answer.body for answer in answers[1:5])
    assert first.keys() == {"conversation_id", "user_message", "assistant_message", "turn"}
    assert (first["user_message"]["role"], first["user_message"]["content"]) == ("user", "Hello")
    assert second["conversation_id"] == first["conversation_id"]
    assert second["assistant_message"]["role"] == "assistant"
    assert listed["conversations"][0]["id"] == first["conversation_id"]
    assert [m["content"] for m in shown["messages"]][::2] == ["Hello", "Hello again"]
    of_user, newest, older, same = (answer.body for answer in answers[5:9])
    assert newest["conversations"][0]["id"] == of_user["conversation_id"]
    assert older["conversations"][0]["id"] == first["conversation_id"]
    assert same == shown
    opened, recent, renamed, said, history, since, tasks = (a.body for a in answers[10:17])
    assert re.fullmatch(r"Chat - \d{4}-\d\d-\d\d \d\d:\d\d", opened["title"])
    assert len(recent["conversations"]) == 2
    assert {"message_count", "last_message_preview"} <= recent["conversations"][0].keys()
    assert renamed["title"] == "Holiday plans"
    assert said["assistant_message"]["role"] == "assistant"
    assert [m["role"] for m in history["messages"]] == ["user", "assistant"]
    assert history["total_count"] == 2
    assert since["messages"] == []
    assert tasks.keys() == {"tasks", "next_cursor"}


class Answer(NamedTuple):
    status: int
    body: Any


def answer_of(line: str) -> Answer:
    """`GET /path {"json": …} 200`"""
    _, _, rest = line.split(" ", 2)
    body, _, status = rest.rpartition(" ")
    return Answer(int(status), json.loads(body) if body.strip() else None)


async def test_the_answer_that_the_readme_kills_arrives(running: Up, stand_in: StandIn) -> None:
    """The model stands still after the first word until the workers were killed."""
    script = readme_script("kill -9")
    question = re.search(r'chat "(.*?)"', script)
    assert question is not None
    script = script.replace(question[1], "gated First then the rest")
    before = {name: running.pid(name) for name in ("worker-1", "worker-2")}
    running_it = asyncio.create_task(run_script(running, script))
    await until(lambda: all(running.pid(name) != pid for name, pid in before.items()), seconds=30)
    stand_in.open_gate()
    done = await running_it
    assert done.stdout.decode() == "First \nFirst then the rest\n"
    assert "the answer starts again" in done.stderr.decode()


def readme_script(sign: str) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (script,) = [block for block in blocks if sign in block]
    return script


async def run_script(up: Up, script: str) -> subprocess.CompletedProcess[bytes]:
    """As a newcomer pastes it, but on the data directory and with the Parley of the tests."""
    command = re.sub(
        r"\.venv/bin/parley (\w+)", r'"$PYTHON" -m cli.main \1 --data-dir "$DATA"', script
    )
    return await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", command.replace(".parley/", '"$DATA"/')],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "DATA": str(up.data.root)},
        check=False,
        timeout=90,
    )


@pytest.mark.parametrize("killed", ["worker-1 worker-2", "redis", "postgres", "api"])
async def test_whatever_is_killed_in_the_middle_of_an_answer_is_made_good(
    running: Up, stand_in: StandIn, killed: str
) -> None:
    url, headers = await running.ready(), headers_of(running)
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        conversation_id = (await client.post("/api/chat/conversations", json={})).json()["id"]
        path = f"/api/chat/conversations/{conversation_id}/messages"
        await client.post(path, json={"content": "gated First then the rest"})
    reader = Reader()
    await follow(url, conversation_id, headers, reader, lambda r: r.text == "First ")
    following = asyncio.create_task(follow(url, conversation_id, headers, reader, completed))
    before = {name: running.pid(name) for name in killed.split()}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: all(running.pid(name) != pid for name, pid in before.items()), seconds=30)
    stand_in.open_gate()
    await following
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        history = (await client.get(path)).json()["messages"]
    assert [(m["role"], m["content"]) for m in history] == [
        ("user", "gated First then the rest"),
        ("assistant", "First then the rest"),
    ]


async def follow(
    url: str,
    conversation_id: str,
    headers: dict[str, str],
    reader: Reader,
    enough: Callable[[Reader], bool],
) -> None:
    """Comes back after every cut, from the last id it heard."""
    async with asyncio.timeout(60):
        while not enough(reader):
            with suppress(httpx.HTTPError):
                await listen(url, conversation_id, headers, reader=reader, until=enough)


def completed(reader: Reader) -> bool:
    return [turn["status"] for turn in reader.turns.values()] == ["completed"]


async def test_chat_holds_a_conversation_that_remembers(running: Up) -> None:
    first = running.say("My name is Bob")
    assert first.returncode == 0, first.stderr
    found = re.search(r"--conversation (\S+)", first.stderr)
    assert found is not None
    second = running.say("recall", "--conversation", found[1])
    assert second.stdout.strip() == "My name is Bob | recall"


async def test_chat_shows_the_tools_at_work(running: Up) -> None:
    done = running.say('call create_task {"title": "Review Q4 report"}')
    assert done.returncode == 0, done.stderr
    assert "create_task" in done.stdout + done.stderr
    url, headers = await running.ready(), headers_of(running, "developer")
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        tasks = (await client.get("/api/tasks")).json()["tasks"]
    assert [task["title"] for task in tasks] == ["Review Q4 report"]


async def test_chat_tells_of_a_failure_and_ends_with_one(running: Up) -> None:
    done = running.say("status 500")
    assert done.returncode == 1
    assert "unavailable" in done.stdout + done.stderr


async def test_chat_goes_on_where_the_api_was_killed(running: Up, stand_in: StandIn) -> None:
    await running.ready()
    chat = await asyncio.create_subprocess_exec(
        *(*COMMAND, "chat", "gated First then the rest", "--data-dir", str(running.data.root)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert chat.stdout is not None
    async with asyncio.timeout(60):
        assert await chat.stdout.readexactly(6) == b"First "
        before = running.pid("api")
        os.kill(before, signal.SIGKILL)
        await until(lambda: running.pid("api") != before)
        stand_in.open_gate()
        rest, _ = await chat.communicate()
    assert rest == b"then the rest\n"
    assert chat.returncode == 0


async def test_what_is_said_while_the_api_restarts_is_said_once(running: Up) -> None:
    url, headers = await running.ready(), headers_of(running, "developer")
    os.kill(running.pid("api"), signal.SIGKILL)
    done = await asyncio.to_thread(running.say, "say hello")
    assert done.stdout == "hello\n", done.stderr
    found = re.search(r"--conversation (\S+)", done.stderr)
    assert found is not None
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        path = f"/api/chat/conversations/{found[1]}/messages"
        history = (await client.get(path)).json()["messages"]
    assert [message["content"] for message in history] == ["say hello", "hello"]
