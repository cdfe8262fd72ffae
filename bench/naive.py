"""What people write first, written well: `python -m bench.naive`.

The agent runs in the request handler and the answer to the POST is its stream: FastAPI, the ORM of
SQLAlchemy, the Agents SDK's stock model. Tuned where that is known to help: uvloop and httptools,
one model client with keep-alive, a pool as large as ours, no access log, no tracing, no refresh of
what was just written. Nothing of it survives its process, nobody else can see it, nothing is tried
again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, cast

import jwt
import uvicorn
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    RunConfig,
    Runner,
    TResponseInputItem,
    function_tool,
    set_tracing_disabled,
)
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from openai import AsyncOpenAI
from pydantic import BaseModel
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from worker.agent import INSTRUCTIONS

set_tracing_disabled(True)

CONTEXT = 50
DONE = 'event: done\ndata: {"status":"completed"}\n\n'


class Base(DeclarativeBase):
    pass


class Conversation(Base):
    __tablename__ = "conversations"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[str] = mapped_column(index=True)


class Message(Base):
    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Conversation.id), index=True)
    role: Mapped[str]
    content: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(
        default=lambda: datetime.now(UTC).replace(tzinfo=None)
    )


class Said(BaseModel):
    content: str


engine = create_async_engine(
    os.environ["NAIVE_DATABASE_URL"], pool_size=15, max_overflow=0, pool_timeout=300
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none", max_retries=0)
tasks: dict[str, str] = {}


@function_tool
async def create_task(title: str, description: str = "") -> str:
    """Create a to-do task for the user."""
    tasks[str(len(tasks))] = f"{title} {description}"
    return "created"


@function_tool
async def list_tasks() -> list[str]:
    """List the user's to-do tasks, newest first."""
    return list(tasks.values())


@function_tool
async def update_task(
    task_id: str, title: str | None = None, description: str | None = None
) -> str:
    """Change the title or description of a task."""
    tasks[task_id] = f"{title} {description}"
    return "updated"


@function_tool
async def complete_task(task_id: str) -> str:
    """Mark a task as completed."""
    return tasks[task_id]


@function_tool
async def delete_task(task_id: str) -> str:
    """Delete a task for good."""
    return tasks.pop(task_id)


agent = Agent(
    name="Naive",
    instructions=INSTRUCTIONS,
    model=OpenAIChatCompletionsModel("bench", client),
    model_settings=ModelSettings(include_usage=True),
    tools=[create_task, list_tasks, update_task, complete_task, delete_task],
)


@asynccontextmanager
async def tables(_: FastAPI) -> AsyncGenerator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=tables)


def user(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    claims = jwt.decode(
        given.credentials,
        os.environ["PARLEY_JWT_SECRET"],
        algorithms=["HS256"],
        audience="parley",
        issuer="parley",
    )
    return claims["sub"]


User = Annotated[str, Depends(user)]


@app.get("/health")
async def health() -> str:
    return "ok"


@app.post("/conversations", status_code=201)
async def create(owner: User) -> dict[str, str]:
    async with sessions() as session:
        conversation = Conversation(user_id=owner)
        session.add(conversation)
        await session.commit()
    return {"id": str(conversation.id)}


@app.post("/conversations/{conversation_id}/messages")
async def say(conversation_id: uuid.UUID, said: Said, owner: User) -> StreamingResponse:
    """The message is stored when the answer's headers are sent."""
    async with sessions() as session:
        conversation = await session.get(Conversation, conversation_id)
        if conversation is None or conversation.user_id != owner:
            raise HTTPException(404)
        session.add(Message(conversation_id=conversation_id, role="user", content=said.content))
        await session.commit()
        newest = (
            select(Message)
            .where(Message.conversation_id == conversation_id)
            .order_by(Message.id.desc())
            .limit(CONTEXT)
        )
        history = (await session.scalars(newest)).all()
    items = cast(
        "list[TResponseInputItem]",
        [{"role": message.role, "content": message.content} for message in reversed(history)],
    )
    return StreamingResponse(answer(conversation_id, items), media_type="text/event-stream")


async def answer(
    conversation_id: uuid.UUID, items: list[TResponseInputItem]
) -> AsyncGenerator[str]:
    result = Runner.run_streamed(agent, items, run_config=RunConfig(tracing_disabled=True))
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            yield f"event: delta\ndata: {json.dumps(event.data.delta)}\n\n"
    async with sessions() as session:
        session.add(
            Message(
                conversation_id=conversation_id,
                role="assistant",
                content=str(result.final_output),
            )
        )
        await session.commit()
    yield DONE


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PARLEY_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
