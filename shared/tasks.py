"""The to-do tools, for our agent and for those of others. Whose tasks they are is no argument."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from shared.db import Transaction
from shared.events import Task
from shared.store import tasks
from shared.text import MAX_TITLE_CHARS, is_storable
from shared.tool import Tool, ToolError

LISTED = 50

Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS, description="What to do")]
Description = Annotated[str, Meta(max_length=4000, description="Further details")]
TaskId = Annotated[str, Meta(description="The id of the task, as list_tasks shows it")]


class CreateTask(Struct, forbid_unknown_fields=True):
    title: Title
    description: Description = ""


class ListTasks(Struct, forbid_unknown_fields=True):
    status: Literal["open", "completed", "all"] = "all"


class UpdateTask(Struct, forbid_unknown_fields=True):
    task_id: TaskId
    title: Title | None = None
    description: Description | None = None


class OneTask(Struct, forbid_unknown_fields=True):
    task_id: TaskId


async def create(tx: Transaction, owner: str, arguments: CreateTask) -> Task:
    title = checked_title(arguments.title)
    description = storable(arguments.description)
    return await tasks.create_task(tx, owner=owner, title=title, description=description)


async def list_all(tx: Transaction, owner: str, arguments: ListTasks) -> dict[str, Any]:
    status = None if arguments.status == "all" else arguments.status
    found = await tasks.list_tasks(tx, owner=owner, limit=LISTED, status=status)
    return {"tasks": found[:LISTED], "more": len(found) > LISTED}


async def update(tx: Transaction, owner: str, arguments: UpdateTask) -> Task:
    return known(
        await tasks.update_task(
            tx,
            task_id(arguments.task_id),
            owner=owner,
            title=None if arguments.title is None else checked_title(arguments.title),
            description=None if arguments.description is None else storable(arguments.description),
        )
    )


async def complete(tx: Transaction, owner: str, arguments: OneTask) -> Task:
    return known(await tasks.complete_task(tx, task_id(arguments.task_id), owner=owner))


async def delete(tx: Transaction, owner: str, arguments: OneTask) -> dict[str, Any]:
    return {"deleted": known(await tasks.delete_task(tx, task_id(arguments.task_id), owner=owner))}


def task_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise not_found() from None


def known(task: Task | None) -> Task:
    if task is None:
        raise not_found()
    return task


def not_found() -> ToolError:
    return ToolError("task_not_found", "There is no task with this id.")


def checked_title(title: str) -> str:
    if not title.strip():
        raise ToolError("invalid_arguments", "A task needs a title.")
    return storable(title.strip())


def storable(text: str) -> str:
    if not is_storable(text):
        raise ToolError("invalid_arguments", "The text has characters that can't be stored.")
    return text


TASK_TOOLS: tuple[Tool[Any], ...] = (
    Tool("create_task", "Create a to-do task for the user.", CreateTask, create),
    Tool("list_tasks", "List the user's to-do tasks, newest first.", ListTasks, list_all),
    Tool("update_task", "Change the title or description of a task.", UpdateTask, update),
    Tool("complete_task", "Mark a task as completed.", OneTask, complete),
    Tool("delete_task", "Delete a task for good.", OneTask, delete),
)
