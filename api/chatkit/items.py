"""Our conversations and messages as ChatKit's threads and items: the same rows, the same ids."""

from __future__ import annotations

from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    CustomSummary,
    CustomTask,
    InferenceOptions,
    Page,
    Thread,
    ThreadItem,
    UserMessageItem,
    UserMessageTextContent,
    Workflow,
    WorkflowItem,
)
from pydantic import BaseModel

from shared.events import Conversation, Message, MessageStatus

TOOL_TITLES: dict[MessageStatus, str] = {
    "running": "AI is using: {name}",
    "completed": "AI used: {name}",
    "awaiting_approval": "Waits for approval: {name}",
    "failed": "Failed: {name}",
    "cancelled": "Cancelled: {name}",
}


def serialise(model: BaseModel) -> str:
    """As the package's own server writes it."""
    return model.model_dump_json(
        by_alias=True, exclude_none=True, context={"exclude_metadata": True}
    )


def thread_of(conversation: Conversation, items: Page[ThreadItem] | None = None) -> Thread:
    return Thread(
        id=str(conversation.id),
        title=conversation.title,
        created_at=conversation.created_at,
        items=items or Page[ThreadItem](),
    )


def item_of(message: Message) -> ThreadItem | None:
    """None for a message without a text that only asks for tools: its calls have items."""
    match message.role:
        case "user":
            return _question(message)
        case "assistant":
            return _answer(message) if message.content.strip() else None
        case "tool":
            return _work(message)


def parts_of(text: str) -> AssistantMessageContent:
    """What the assistant says is always one part."""
    return AssistantMessageContent(text=text)


def tool_title(message: Message) -> str:
    name = message.metadata.get("tool_name", "a tool")
    return TOOL_TITLES.get(message.status, "{name}").format(name=name)


def _question(message: Message) -> UserMessageItem:
    return UserMessageItem(
        id=str(message.id),
        thread_id=str(message.conversation_id),
        created_at=message.created_at,
        content=[UserMessageTextContent(text=message.content)],
        inference_options=InferenceOptions(),
    )


def _answer(message: Message) -> AssistantMessageItem:
    return AssistantMessageItem(
        id=str(message.id),
        thread_id=str(message.conversation_id),
        created_at=message.created_at,
        content=[parts_of(message.content)],
    )


def _work(message: Message) -> WorkflowItem:
    """A call is a workflow of one task: only within a workflow a task shows that it goes on."""
    title = tool_title(message)
    at_work = message.status == "running"
    done = message.status == "completed"
    task = CustomTask(
        title=title, status_indicator="loading" if at_work else "complete" if done else "none"
    )
    return WorkflowItem(
        id=str(message.id),
        thread_id=str(message.conversation_id),
        created_at=message.created_at,
        workflow=Workflow(type="custom", tasks=[task], summary=CustomSummary(title=title)),
    )
