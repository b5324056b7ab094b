"""Batches: several changes of one's own tasks in one transaction, all of them or none."""

import asyncio

from aiohttp import web

from todo_service.auth.access import Access
from todo_service.auth.accounts import hold_tasks
from todo_service.auth.caller import CALLER
from todo_service.config.settings import SETTINGS
from todo_service.errors import ApiError, NotFound, PreconditionFailed, QuotaExceeded, TaskIdTaken
from todo_service.postgres.connector import Connection
from todo_service.queries import tasks
from todo_service.routes import responses, task_log
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import once
from todo_service.routes.request_bodies import LARGE_BODY
from todo_service.routes.table import Route
from todo_service.routes.tasks import NO_SUCH_TASK, create
from todo_service.wire import batch
from todo_service.wire.batch import Batch, BatchResults, Change, Create, Delete, Operation


async def run_batch(request: web.Request, body: Batch) -> web.Response:
    """Carry out all operations in order, or none of them; the first that fails is named by its `index`."""
    operations = await asyncio.to_thread(batch.read, body.operations, request.app[SETTINGS])

    async def act(db: Connection) -> web.Response:
        await hold_tasks(db, request[CALLER])
        results = [await _nth(db, request, index, operation) for index, operation in enumerate(operations)]
        task_log.note(request, "batch_done", operations=len(results))
        return responses.json({"results": results}, headers=responses.PRIVATE)

    return await once(request, act, atomic=True)


async def _nth(db: Connection, request: web.Request, index: int, operation: Operation) -> dict[str, object]:
    try:
        return await _carry_out(db, request, operation)
    except ApiError as error:
        error.name_operation(index)
        raise


async def _carry_out(db: Connection, request: web.Request, operation: Operation) -> dict[str, object]:
    owner_id = request[CALLER].user_id
    match operation:
        case Create(task):
            inserted = await create(db, request, task)
            return batch.result("create", inserted.task, status=201 if inserted.is_new else 200)
        case Change(op, task_id, changes, if_versions):
            row = await tasks.update(db, owner_id=owner_id, task_id=task_id, changes=changes, if_versions=if_versions)
            if row is None:
                raise NotFound(NO_SUCH_TASK)
            task_log.note_change(request, op, row)
            return batch.result(op, row)
        case Delete(task_id, if_versions):
            if await tasks.delete(db, owner_id=owner_id, task_id=task_id, if_versions=if_versions) is None:
                raise NotFound(NO_SUCH_TASK)
            task_log.note_deleted(request, task_id)
            return batch.deleted(task_id)


BATCH = (
    Route(
        "POST",
        "/api/v1/tasks/batch",
        run_batch,
        Access.USER,
        "Change several tasks, all or nothing",
        body=Batch,
        max_body=LARGE_BODY,
        answers={200: BatchResults},
        takes=(IDEMPOTENCY_KEY,),
        raises=(NotFound, QuotaExceeded, TaskIdTaken, PreconditionFailed),
    ),
)
