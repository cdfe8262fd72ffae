"""The demo model end to end: its real server, the SDK's run loop, and real tools over a list."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.request import urlopen
from uuid import uuid4

import agents
import pytest
from agents import Agent, Runner, Tool, TResponseInputItem, function_tool

from tests.fixtures.sdk import SdkModel
from worker.agent import RUN_CONFIG
from worker.demo import DemoModel
from worker.provider import Provider

agents.set_tracing_disabled(True)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # One thread: two would wait for each other for as long as other tests have a core.
    options = ("--port", str(port), "--threads", "1")
    server = subprocess.Popen([sys.executable, "-m", "cli.demo_model", *options])
    try:
        wait_until_healthy(server, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        assert server.wait(timeout=10) == 0


def wait_until_healthy(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert server.poll() is None, "the demo model's server ended"
        try:
            with urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the demo model's server did not get ready")


@pytest.fixture
async def model(base_url: str) -> AsyncIterator[DemoModel]:
    model = DemoModel(Provider(base_url, "none"))
    yield model
    await model.close()


@dataclass
class Task:
    title: str
    status: str = "open"
    id: str = field(default_factory=lambda: str(uuid4()))


@dataclass
class TodoList:
    """To-do tools over a list, which note what they were called with."""

    tasks: list[Task] = field(default_factory=list[Task])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    broken: bool = False

    def find(self, task_id: str) -> Task:
        return next(task for task in self.tasks if task.id == task_id)

    def note(self, tool: str, about: str) -> None:
        self.calls.append((tool, about))
        if self.broken:
            raise RuntimeError("the database is away")

    def tools(self) -> list[Tool]:
        @function_tool
        def create_task(title: str, description: str | None = None) -> str:
            """Create a task."""
            self.note("create_task", f"{title} / {description}" if description else title)
            self.tasks.append(Task(title))
            return json.dumps(vars(self.tasks[-1]))

        @function_tool
        def list_tasks(status: Literal["open", "completed"] | None = None) -> str:
            """List the tasks."""
            self.note("list_tasks", status or "")
            found = [vars(task) for task in self.tasks if status in (None, task.status)]
            return json.dumps({"tasks": found})

        @function_tool
        def update_task(task_id: str, title: str | None = None) -> str:
            """Change a task."""
            task = self.find(task_id)
            self.note("update_task", task.title)
            task.title = title or task.title
            return json.dumps(vars(task))

        @function_tool
        def complete_task(task_id: str) -> str:
            """Mark a task as done."""
            task = self.find(task_id)
            self.note("complete_task", task.title)
            task.status = "completed"
            return json.dumps(vars(task))

        @function_tool
        def delete_task(task_id: str) -> str:
            """Delete a task."""
            task = self.find(task_id)
            self.note("delete_task", task.title)
            self.tasks.remove(task)
            return json.dumps({"deleted": task_id})

        return [create_task, list_tasks, update_task, complete_task, delete_task, get_weather]


@function_tool
def get_weather(city: str, days: int | None = None) -> str:
    """Get the weather of a city."""
    return f"It is sunny in {city}{f' for {days} days' if days else ''}."


class Talk:
    """One conversation, its history carried from turn to turn."""

    def __init__(self, model: DemoModel, *titles: str) -> None:
        self.todo = TodoList([Task(title) for title in titles])
        self.pieces: list[str] = []
        heard = SdkModel(model, self.pieces)
        self._agent = Agent[None](name="demo", model=heard, tools=self.todo.tools())
        self._items: list[TResponseInputItem] = []

    async def say(self, text: str) -> str:
        self.todo.calls.clear()
        self.pieces.clear()
        self._items.append({"role": "user", "content": text})
        run = await Runner.run(self._agent, self._items, run_config=RUN_CONFIG)
        self._items = run.to_input_list()
        assert "".join(self.pieces) == run.final_output
        return "".join(self.pieces)


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Create a task called 'Review Q4 report'", "Review Q4 report"),
        ("Please create a task named \u201cMum\u2019s birthday\u201d.", "Mum\u2019s birthday"),
        ("add a task: buy milk", "buy milk"),
        ("Could you add buy eggs to my to-do list?", "buy eggs"),
        ("remind me to call mum", "call mum"),
        ('add a task: read "Dune" aloud', 'read "Dune" aloud'),
        ("create a task called Taxes with the description ask Ann first", "Taxes / ask Ann first"),
    ],
)
async def test_a_task_is_created_with_the_title_said(
    model: DemoModel, said: str, title: str
) -> None:
    talk = Talk(model)
    answer = await talk.say(said)
    assert talk.todo.calls == [("create_task", title)]
    assert talk.todo.tasks[0].title in answer


async def test_several_tasks_are_created_in_the_order_said(model: DemoModel) -> None:
    talk = Talk(model)
    await talk.say("add tasks: buy milk, call mum and pay rent")
    assert [task.title for task in talk.todo.tasks] == ["buy milk", "call mum", "pay rent"]


@pytest.mark.parametrize(
    "said",
    ["list my tasks", "what are my tasks?", "show my to-do list", "What do I have to do today?"],
)
async def test_tasks_are_listed(model: DemoModel, said: str) -> None:
    talk = Talk(model, "buy milk", "call mum")
    assert await talk.say(said) == "You have 2 tasks:\n- buy milk\n- call mum"
    assert talk.todo.calls == [("list_tasks", "")]


async def test_a_state_named_is_passed_on(model: DemoModel) -> None:
    talk = Talk(model, "buy milk")
    assert await talk.say("which tasks are done?") == "You have no done tasks."
    assert talk.todo.calls == [("list_tasks", "completed")]


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("complete the task Review Q4 report", ("complete_task", "Review Q4 report")),
        ("mark buy milk as done", ("complete_task", "buy milk")),
        ("delete the task buy milk", ("delete_task", "buy milk")),
        ("remove call mum from my list", ("delete_task", "call mum")),
        ("rename the task buy milk to buy oat milk", ("update_task", "buy milk")),
    ],
)
async def test_a_task_named_by_its_title_is_looked_up_and_changed(
    model: DemoModel, said: str, call: tuple[str, str]
) -> None:
    talk = Talk(model, "buy milk and bread", "Review Q4 report", "buy milk", "call mum")
    answer = await talk.say(said)
    assert talk.todo.calls == [("list_tasks", ""), call]
    assert call[1] in answer


async def test_a_task_just_spoken_of_is_it(model: DemoModel) -> None:
    talk = Talk(model, "buy milk")
    await talk.say("add a task: call mum")
    await talk.say("mark it as done")
    assert talk.todo.calls[-1] == ("complete_task", "call mum")


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        "What is the capital of France?",
        "My name is Bob",
        "what is my name?",
        "tell me a joke",
        "thanks!",
        "What is a task force?",
        "Remind me what the capital of Spain is",
    ],
)
async def test_conversation_calls_no_tool(model: DemoModel, said: str) -> None:
    talk = Talk(model, "buy milk")
    answer = await talk.say(said)
    assert talk.todo.calls == []
    assert answer.strip()


async def test_conversation_comes_from_the_model_in_pieces(model: DemoModel) -> None:
    talk = Talk(model)
    answer = await talk.say("What is the capital of France?")
    assert "Paris" in answer
    assert len(talk.pieces) > 3


async def test_what_the_user_told_is_remembered(model: DemoModel) -> None:
    talk = Talk(model)
    await talk.say("My name is Bob")
    await talk.say("I live in Madrid.")
    await talk.say("tell me a joke")
    assert "Bob" in await talk.say("What is my name?")
    assert "Madrid" in await talk.say("Where do I live?")


async def test_what_was_never_told_is_not_made_up(model: DemoModel) -> None:
    assert await Talk(model).say("What is my name?") == "You have not told me your name yet."


@pytest.mark.timeout(300)
async def test_a_message_longer_than_the_context_is_still_answered(model: DemoModel) -> None:
    talk = Talk(model)
    await talk.say("My name is Bob")
    assert (await talk.say("0123456789 " * 900)).strip()
    assert "Bob" in await talk.say("What is my name?")


@pytest.mark.parametrize(
    "said", ["add a task: buy bread", "list my tasks", "delete the task buy milk"]
)
async def test_a_tool_that_failed_is_not_reported_as_a_success(model: DemoModel, said: str) -> None:
    talk = Talk(model, "buy milk")
    talk.todo.broken = True
    answer = await talk.say(said)
    assert len(talk.todo.calls) == 1
    assert "did not work" in answer
    assert "created" not in answer
    assert "deleted" not in answer


async def test_a_title_that_is_not_on_the_list_changes_nothing(model: DemoModel) -> None:
    talk = Talk(model, "buy milk")
    answer = await talk.say("delete the task water the plants")
    assert talk.todo.calls == [("list_tasks", "")]
    assert answer == 'I found no task called "water the plants" on your list.'


async def test_a_request_that_is_not_understood_is_not_claimed_as_done(model: DemoModel) -> None:
    answer = await Talk(model, "buy milk").say("undo the last change to my tasks")
    assert "did not understand" in answer


async def test_another_tool_gets_its_arguments_from_the_model(model: DemoModel) -> None:
    answer = await Talk(model).say("get the weather in New York for 3 days")
    assert "It is sunny in New York for 3 days." in answer
