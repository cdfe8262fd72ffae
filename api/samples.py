"""What the documentation shows: one small conversation, in the very structs that go out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from api.rpc import RpcAnswer, RpcRequest
from api.wire import (
    Chat,
    ConversationWithMessages,
    Export,
    FeedbackList,
    Messages,
    NewChat,
    NewDecision,
    NewFeedback,
    Part,
    Readiness,
    SearchResults,
    Session,
    Submitted,
    Ticket,
)
from shared.events import (
    Conversation,
    Message,
    MessageCreated,
    MessageDelta,
    Task,
    ToolCall,
    Turn,
    TurnUpdated,
)
from shared.models import SCHEMA_REVISION
from shared.store.feedback import Feedback
from shared.store.search import Piece, SearchResult

_START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_CONVERSATION_ID = UUID("019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10")
_TURN_ID = UUID("019caf3e-3311-7d08-9f52-61c0a4e7b3d2")
_USER_MESSAGE_ID = UUID("019caf3e-3310-7c44-8a6e-93b17f20c5e1")
_CALL_MESSAGE_ID = UUID("019caf3e-3a02-7b10-8d3c-2f9e61d4a7b8")
_CALL_ID = f"call_{_CALL_MESSAGE_ID.hex}"
KEY = "0f5c1d8e-9a41-4b7e-8d0a-3c2f6b1e7a95"


def _at(seconds: float) -> datetime:
    return _START + timedelta(seconds=seconds)


TASK = Task(
    id=UUID("019caf10-77a0-7e20-8b11-4c5d6e7f8091"),
    title="Water the plants",
    description="",
    status="open",
    created_at=_at(-3600),
    updated_at=_at(-3600),
    completed_at=None,
)
USER_MESSAGE = Message(
    id=_USER_MESSAGE_ID,
    conversation_id=_CONVERSATION_ID,
    turn_id=_TURN_ID,
    seq=1,
    role="user",
    content="What is on my list today?",
    status="completed",
    tool_calls=None,
    tool_call_id=None,
    metadata={},
    created_at=_at(4),
)
ASKING_MESSAGE = Message(
    id=UUID("019caf3e-3a01-7f2e-9b64-5d8c7e0f1a23"),
    conversation_id=_CONVERSATION_ID,
    turn_id=_TURN_ID,
    seq=5,
    role="assistant",
    content="",
    status="completed",
    tool_calls=[
        ToolCall(
            id=_CALL_ID,
            tool_name="list_tasks",
            arguments={"status": "open"},
            status="completed",
            result={"tasks": [{"title": "Water the plants"}]},
            started_at=_at(5),
            duration_ms=3,
        )
    ],
    tool_call_id=None,
    metadata={},
    created_at=_at(5),
)
ASSISTANT_MESSAGE = Message(
    id=UUID("019caf3e-3c90-7a05-8e77-b0c1d2e3f405"),
    conversation_id=_CONVERSATION_ID,
    turn_id=_TURN_ID,
    seq=8,
    role="assistant",
    content="One thing: water the plants.",
    status="completed",
    tool_calls=None,
    tool_call_id=None,
    metadata={},
    created_at=_at(6),
)
QUEUED_TURN = Turn(
    id=_TURN_ID,
    conversation_id=_CONVERSATION_ID,
    user_message_id=_USER_MESSAGE_ID,
    status="queued",
    attempt=0,
    position=1,
    error=None,
    model=None,
    usage=None,
    seq=2,
    created_at=_at(4),
    started_at=None,
    first_token_at=None,
    finished_at=None,
)
TURN = msgspec.structs.replace(
    QUEUED_TURN,
    status="completed",
    attempt=1,
    position=None,
    model="gpt-5-mini",
    usage={"input_tokens": 412, "output_tokens": 23},
    seq=9,
    started_at=_at(4.1),
    first_token_at=_at(5.8),
    finished_at=_at(6),
)
AWAITING_TURN = msgspec.structs.replace(
    TURN, status="awaiting_approval", seq=7, first_token_at=None, finished_at=None
)
NEW_DECISION = NewDecision(_CALL_ID, "deny", reason="Not this one.")
CONVERSATION = Conversation(
    id=_CONVERSATION_ID,
    title="What is on my list today?",
    created_at=_START,
    updated_at=_at(6),
    message_count=4,
    last_message_preview="One thing: water the plants.",
    seq=9,
    active_turn=None,
)
SUBMITTED = Submitted(USER_MESSAGE, QUEUED_TURN, since=0)
SUBMITTED_AND_ANSWERED = Submitted(USER_MESSAGE, TURN, since=0, assistant_message=ASSISTANT_MESSAGE)
MESSAGES = Messages(
    messages=[USER_MESSAGE, ASKING_MESSAGE, ASSISTANT_MESSAGE],
    turns=[TURN],
    total_count=4,
    next_since=9,
    has_more=False,
)
NEW_CHAT = NewChat("What is on my list today?")
CHAT = Chat(_CONVERSATION_ID, USER_MESSAGE, ASSISTANT_MESSAGE, TURN)
CHAT_GOING_ON = Chat(_CONVERSATION_ID, USER_MESSAGE, None, QUEUED_TURN)
CONVERSATION_WITH_MESSAGES = ConversationWithMessages(
    **msgspec.structs.asdict(CONVERSATION),
    messages=[USER_MESSAGE, ASKING_MESSAGE, ASSISTANT_MESSAGE],
    has_more=False,
)
SESSION = Session("alice", _at(3600))
TICKET = Ticket("kzv0lYqvJ8m3D2sWm9rXyQe1bT5uN7pF4hG6aC8dE0I", _at(30))
RPC_REQUEST = RpcRequest(
    jsonrpc="2.0",
    id=1,
    method="tools/call",
    params={"name": "create_task", "arguments": {"title": "Water the plants"}},
)
RPC_ANSWER = RpcAnswer(
    jsonrpc="2.0",
    id=1,
    result={
        "content": [{"type": "text", "text": msgspec.json.encode(TASK).decode()}],
        "structuredContent": msgspec.to_builtins(TASK),
        "isError": False,
    },
)
NEW_FEEDBACK = NewFeedback("up", "Short and right.")
FEEDBACK = Feedback(
    message_id=ASSISTANT_MESSAGE.id,
    conversation_id=_CONVERSATION_ID,
    rating="up",
    comment="Short and right.",
    created_at=_at(20),
    updated_at=_at(20),
)
FEEDBACK_LIST = FeedbackList([FEEDBACK], None)
EXPORT = Export(
    exported_at=_at(60),
    conversation=CONVERSATION,
    messages=MESSAGES.messages,
    turns=[TURN],
    feedback=[FEEDBACK],
)
SEARCH_RESULTS = SearchResults(
    [
        SearchResult(
            conversation_id=_CONVERSATION_ID,
            conversation_title=CONVERSATION.title,
            message_id=ASSISTANT_MESSAGE.id,
            seq=ASSISTANT_MESSAGE.seq,
            role="assistant",
            created_at=ASSISTANT_MESSAGE.created_at,
            rank=0.1,
            snippet=[
                Piece("One thing: water the ", match=False),
                Piece("plants", match=True),
                Piece(".", match=False),
            ],
        )
    ],
    None,
)
READINESS = Readiness(
    "ready",
    {
        "postgres": Part("ok"),
        "redis": Part("ok"),
        "migrations": Part(
            "ok", f"revision {SCHEMA_REVISION}, expected {SCHEMA_REVISION} or newer"
        ),
        "workers": Part("ok", "2 alive"),
    },
)


def _event(cursor: str, event: MessageCreated | MessageDelta | TurnUpdated) -> str:
    data = msgspec.to_builtins(event)
    name = data.pop("event")
    return f"id: {cursor}\nevent: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"


EVENTS = (
    "retry: 2000\n: connected\n\n"
    + _event("1", MessageCreated(1, USER_MESSAGE))
    + _event("2", TurnUpdated(2, QUEUED_TURN))
    + _event("7:9", MessageDelta(_TURN_ID, ASSISTANT_MESSAGE.id, 1, 0, "One thing"))
    + _event("8", MessageCreated(8, ASSISTANT_MESSAGE))
    + _event("9", TurnUpdated(9, TURN))
)
METRICS = """\
# HELP parley_workers Workers whose lease holds.
# TYPE parley_workers gauge
parley_workers 2.0
"""
