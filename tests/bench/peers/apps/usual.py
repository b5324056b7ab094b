"""The usual stack: FastAPI with SQLModel on asyncpg, response models, a session for each request, PyJWT.

It authenticates and answers, and has none of: rate limits, metrics, logs, quotas, versions.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Column, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

engine = create_async_engine(
    os.environ["PEER_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=0
)
sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
app = FastAPI()


def now() -> datetime:
    return datetime.now(UTC)


def moment(**options: object) -> Column:
    return Column(DateTime(timezone=True), **options)


class TaskFields(SQLModel):
    title: str = Field(min_length=1, max_length=255)
    description: str | None = Field(default=None, max_length=5000)
    priority: str = "MEDIUM"
    due_date: datetime | None = None
    tags: list[str] = []


class TaskRead(TaskFields):
    id: UUID
    user_id: str
    status: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class Task(TaskFields, table=True):
    __tablename__ = "tasks"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: str = Field(index=True)
    status: str = "TODO"
    due_date: datetime | None = Field(default=None, sa_column=moment())
    tags: list[str] = Field(default_factory=list, sa_column=Column(ARRAY(Text)))
    created_at: datetime = Field(default_factory=now, sa_column=moment())
    updated_at: datetime = Field(default_factory=now, sa_column=moment())
    completed_at: datetime | None = Field(default=None, sa_column=moment())


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def get_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    try:
        claims = jwt.decode(credentials.credentials, os.environ["PEER_SECRET"], algorithms=["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401, "invalid token") from None
    return claims["sub"]


Session = Annotated[AsyncSession, Depends(get_session)]
User = Annotated[str, Depends(get_user)]


async def own_task(session: AsyncSession, user: str, task_id: UUID) -> Task:
    task = (await session.exec(select(Task).where(Task.id == task_id, Task.user_id == user))).first()
    if task is None:
        raise HTTPException(404, "no such task")
    return task


@app.get("/tasks", response_model=list[TaskRead])
async def list_tasks(session: Session, user: User, limit: int = 1000) -> list[Task]:
    statement = select(Task).where(Task.user_id == user).order_by(col(Task.created_at).desc(), Task.id).limit(limit)
    return list((await session.exec(statement)).all())


@app.get("/tasks/{task_id}", response_model=TaskRead)
async def read_task(task_id: UUID, session: Session, user: User) -> Task:
    return await own_task(session, user, task_id)


@app.post("/tasks", response_model=TaskRead, status_code=201)
async def create_task(body: TaskFields, session: Session, user: User) -> Task:
    task = Task(**body.model_dump(), user_id=user)
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.patch("/tasks/{task_id}/complete", response_model=TaskRead)
async def toggle_task(task_id: UUID, session: Session, user: User) -> Task:
    task = await own_task(session, user, task_id)
    is_completed = task.status == "COMPLETED"
    task.status = "TODO" if is_completed else "COMPLETED"
    task.completed_at = None if is_completed else now()
    task.updated_at = now()
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


if __name__ == "__main__":
    port = int(os.environ["PEER_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error")
