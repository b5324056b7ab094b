"""Batches: several changes of one's own tasks in one request, all of them or none."""

import asyncio
from typing import Any

from aiohttp import web

from todo_service.auth.access import Access, check_scope
from todo_service.auth.accounts import lock_tasks
from todo_service.auth.caller import CALLER
from todo_service.config.scopes import Scope
from todo_service.config.settings import SETTINGS
from todo_service.errors import (
    NO_SUCH_TASK,
    ApiError,
    InsufficientScope,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    TaskIdTaken,
)
from todo_service.postgres.connection import Connection
from todo_service.queries import tasks
from todo_service.routes import responses, task_log
from todo_service.routes.descriptions import describe
from todo_service.routes.idempotency import CHANGES_NOTHING, run_idempotent
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.request_bodies import LARGE_BODY
from todo_service.routes.table import Route
from todo_service.routes.tasks import insert_task
from todo_service.wire import batch
from todo_service.wire.batch import Batch, BatchResults, Change, Create, Delete, Operation


@describe(
    {200: BatchResults},
    request_headers=(IDEMPOTENCY_KEY,),
    errors=(NotFound, QuotaExceeded, TaskIdTaken, PreconditionFailed),
)
async def run_batch(request: web.Request, body: Batch) -> web.Response:
    """Carry out all operations in order, or none of them; the first that fails is named by its `index`."""
    operations = await asyncio.to_thread(batch.read, body.operations, request.app[SETTINGS])
    _check_scopes(request, operations)
    return await run_idempotent(request, _run, operations, transactional=True)


def _check_scopes(request: web.Request, operations: list[Operation]) -> None:
    for index, operation in enumerate(operations):
        try:
            is_deletion = isinstance(operation, Delete)
            check_scope(request[CALLER], Scope.TASKS_DELETE if is_deletion else Scope.TASKS_WRITE)
        except InsufficientScope as error:
            error.name_operation(index)
            raise


async def _run(db: Connection, request: web.Request, operations: list[Operation]) -> web.Response:
    before = await lock_tasks(db, request[CALLER])
    results = []
    for index, operation in enumerate(operations):
        try:
            results.append(await _run_one(db, request, operation))
        except ApiError as error:
            error.name_operation(index)
            raise
    task_log.note(request, "batch_done", operations=len(results))
    response = responses.json({"results": results}, headers=responses.PRIVATE)
    response[CHANGES_NOTHING] = not any(_has_changed(before, result) for result in results)
    return response


async def _run_one(db: Connection, request: web.Request, operation: Operation) -> dict[str, object]:
    owner_id, origin = request[CALLER].user_id, task_log.origin_of(request)
    match operation:
        case Create(task):
            inserted = await insert_task(db, request, task)
            return batch.result("create", inserted.task, status=201 if inserted.is_new else 200)
        case Change(op, task_id, changes, if_versions):
            row = await tasks.update(
                db, owner_id=owner_id, task_id=task_id, changes=changes, if_versions=if_versions, operation=op,
                origin=origin,
            )  # fmt: skip
            if row is None:
                raise NotFound(NO_SUCH_TASK)
            task_log.note_task(request, f"task_{op}d", row)
            return batch.result(op, row)
        case Delete(task_id, if_versions):
            version = await tasks.delete(db, owner_id=owner_id, task_id=task_id, if_versions=if_versions, origin=origin)
            if version is None:
                raise NotFound(NO_SUCH_TASK)
            task_log.note_deleted(request, task_id, version)
            return batch.deleted(task_id)


def _has_changed(before: int, result: dict[str, Any]) -> bool:
    """Return whether an operation has changed a task, after version `before`."""
    return "task" not in result or result["task"]["version"] > before


BATCH = (
    Route(
        "POST",
        "/api/v1/tasks/batch",
        run_batch,
        Access.USER,
        "Change several tasks, all or nothing",
        (Scope.TASKS_WRITE, Scope.TASKS_DELETE),
        body=Batch,
        max_body=LARGE_BODY,
    ),
)
