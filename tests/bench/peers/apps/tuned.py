"""A FastAPI that somebody has tuned: no ORM, one statement a request, JSON made by PostgreSQL, plain responses."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

SELECT_PAGE = """
SELECT convert_to(coalesce(json_agg(page), '[]')::text, 'UTF8') FROM (
    SELECT * FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT 1000
) AS page"""
SELECT = "SELECT convert_to(row_to_json(task)::text, 'UTF8') FROM tasks AS task WHERE id = $1 AND user_id = $2"
INSERT = """
WITH task AS (
    INSERT INTO tasks (id, user_id, title, description, priority, due_date, tags)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *
)
SELECT convert_to(row_to_json(task)::text, 'UTF8') FROM task"""
TOGGLE = """
WITH task AS (
    UPDATE tasks SET status = CASE status WHEN 'COMPLETED' THEN 'TODO' ELSE 'COMPLETED' END,
        completed_at = CASE status WHEN 'COMPLETED' THEN NULL ELSE now() END, updated_at = now()
    WHERE id = $1 AND user_id = $2 RETURNING *
)
SELECT convert_to(row_to_json(task)::text, 'UTF8') FROM task"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["PEER_DATABASE_URL"], min_size=10, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


class TaskCreate(BaseModel):
    title: str
    description: str | None = None
    priority: str = "MEDIUM"
    due_date: datetime | None = None
    tags: list[str] = []


async def get_user(request: Request) -> str:
    try:
        token = request.headers["authorization"].removeprefix("Bearer ")
        return jwt.decode(token, os.environ["PEER_SECRET"], algorithms=["HS256"])["sub"]
    except (KeyError, jwt.PyJWTError):
        raise HTTPException(401) from None


User = Annotated[str, Depends(get_user)]


async def answer(statement: str, *values: object, status: int = 200) -> Response:
    body = await app.state.pool.fetchval(statement, *values)
    if body is None:
        raise HTTPException(404)
    return Response(body, status, media_type="application/json")


@app.get("/tasks")
async def list_tasks(user: User) -> Response:
    return await answer(SELECT_PAGE, user)


@app.get("/tasks/{task_id}")
async def read_task(task_id: UUID, user: User) -> Response:
    return await answer(SELECT, task_id, user)


@app.post("/tasks")
async def create_task(body: TaskCreate, user: User) -> Response:
    values = (body.title, body.description, body.priority, body.due_date, body.tags)
    return await answer(INSERT, uuid4(), user, *values, status=201)


@app.patch("/tasks/{task_id}/complete")
async def toggle_task(task_id: UUID, user: User) -> Response:
    return await answer(TOGGLE, task_id, user)


if __name__ == "__main__":
    port = int(os.environ["PEER_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error")
