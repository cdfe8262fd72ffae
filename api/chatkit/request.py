"""What comes in at `/chatkit`, as far as the document of our routes shows it.

The package's own types, which say all of it, are only there with the extra.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

RequestType = Literal[
    "threads.create",
    "threads.add_user_message",
    "threads.retry_after_item",
    "threads.get_by_id",
    "threads.list",
    "threads.update",
    "threads.delete",
    "items.list",
    "items.feedback",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.custom_action",
    "threads.sync_custom_action",
    "attachments.create",
    "attachments.delete",
    "input.transcribe",
]
STREAMED: frozenset[str] = frozenset(
    {"threads.create", "threads.add_user_message", "threads.retry_after_item"}
)
"""Answered with a stream, because the agent works."""


class ChatKitRequest(msgspec.Struct, frozen=True):
    """A request of the ChatKit protocol; `params` depends on `type`."""

    type: RequestType
    params: dict[str, Any]
    metadata: dict[str, Any] = {}


REQUEST = ChatKitRequest(
    "threads.create",
    {
        "input": {
            "content": [{"type": "input_text", "text": "What is on my list today?"}],
            "attachments": [],
            "inference_options": {},
        }
    },
)
ANSWER: dict[str, Any] = {"data": [], "has_more": False}
STREAM = (
    'data: {"type":"stream_options","stream_options":{"allow_cancel":false}}\n\n'
    'data: {"type":"progress_update","text":"AI is using: create_task"}\n\n'
)
