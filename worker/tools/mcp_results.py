"""What an MCP server answered to a call, as a result of ours. Pure; nothing it names is fetched."""

from __future__ import annotations

from typing import Any

from mcp_types import CallToolResult, EmbeddedResource, TextContent, TextResourceContents

from shared.text import sanitise
from shared.tool import ToolError

MAX_ERROR_CHARS = 2000


def result_of(answer: CallToolResult) -> Any:
    """Its values, or else its text. Raises ToolError where the tool itself reports an error."""
    if answer.is_error:
        text = sanitise(text_of(answer)).strip()[:MAX_ERROR_CHARS]
        raise ToolError("tool_error", text or "The tool reported an error.")
    if answer.structured_content is not None:
        return answer.structured_content
    return text_of(answer)


def text_of(answer: CallToolResult) -> str:
    """What isn't text is named by its kind, so that the model knows of it."""
    return "\n".join(map(_text, answer.content))


def _text(block: Any) -> str:
    match block:
        case TextContent(text=text):
            return text
        case EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case _:
            return f"[{block.type}]"
