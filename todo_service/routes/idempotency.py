"""Idempotency (draft-ietf-httpapi-idempotency-key-header): a request with an `Idempotency-Key` changes something once,
however often it is sent. A refusal changes nothing and is not stored: the key stays free.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import asyncpg
import orjson
from aiohttp import hdrs, web

from todo_service.auth.accounts import make_owner
from todo_service.auth.caller import CALLER, OWNER
from todo_service.errors import IdempotencyKeyReused, Overloaded, QuotaExceeded, invalid
from todo_service.postgres import citus
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE
from todo_service.queries import idempotency_keys
from todo_service.queries.idempotency_keys import Answer, Claim
from todo_service.routes import task_log
from todo_service.routes.request_bodies import BODY
from todo_service.routes.responses import PRIVATE
from todo_service.wire.families import FAMILY

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
MAX_KEY = 255  # characters
MAX_STORED = 64 * 1024 * 1024  # bytes of one user's answers
TOO_MUCH_STORED = (
    f"Your answers of the last 24 hours that are stored for an `Idempotency-Key` take {MAX_STORED // 2**20} MiB. Send "
    "less at once, or send it without the header."
)
CHANGES_NOTHING = web.ResponseKey("changes_nothing", bool)  # such an answer is not stored: the key stays free
STORED_HEADERS = (hdrs.LOCATION, hdrs.ETAG)

Args = TypeVarTuple("Args")
Change = Callable[[Connection, web.Request, *Args], Awaitable[web.Response]]


async def run_idempotent(
    request: web.Request, change: Change[*Args], *args: *Args, transactional: bool = False
) -> web.Response:
    """Return the answer of `change(db, request, *args)`, or its first answer if the request's key was used before.

    With a key, the change and its answer are committed in one transaction.

    Args:
        transactional: Run the change in a transaction without a key too, for a change of several statements.

    Raises:
        IdempotencyKeyReused: The key came with another request.
        QuotaExceeded: The user's stored answers take as much as they may.
        ValidationFailed: The key is malformed.
    """
    key = _key(request)
    try:
        return await _attempt(request, key, change, *args, transactional=transactional)
    except asyncpg.UniqueViolationError as error:
        if citus.constraint_of(error) != "tasks_pkey":
            raise
        # Another create with this task id was committed meanwhile: now its task is there to compare with.
        return await _attempt(request, key, change, *args, transactional=transactional)


async def _attempt(
    request: web.Request, key: str | None, change: Change[*Args], *args: *Args, transactional: bool
) -> web.Response:
    database = request.app[DATABASE]
    if key is None and not transactional:
        async with database.connection() as db:
            return await change(db, request, *args)
    try:
        async with database.transaction() as db:
            if key is None:
                return await change(db, request, *args)
            return await _run_once(db, request, key, change, *args)
    except BaseException:
        task_log.discard()
        raise


async def _run_once(
    db: Connection, request: web.Request, key: str, change: Change[*Args], *args: *Args
) -> web.Response:
    fingerprint = _fingerprint(request)
    claim = await _claim(db, request, key, fingerprint)
    if claim.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    if claim.answer is not None:
        return _replay(claim.answer)
    response = await change(db, request, *args)
    user_id = request[CALLER].user_id
    if response.get(CHANGES_NOTHING):
        await idempotency_keys.release(db, user_id=user_id, key=key)
    elif not await idempotency_keys.store(
        db, user_id=user_id, key=key, answer=_to_answer(response), at_most=MAX_STORED
    ):
        raise QuotaExceeded(TOO_MUCH_STORED)
    return response


async def _claim(db: Connection, request: web.Request, key: str, fingerprint: bytes) -> Claim:
    caller = request[CALLER]
    claim = await idempotency_keys.claim(db, user_id=caller.user_id, key=key, fingerprint=fingerprint)
    if claim is None:
        await make_owner(db, caller)
        claim = await idempotency_keys.claim(db, user_id=caller.user_id, key=key, fingerprint=fingerprint)
    if claim is None:
        raise Overloaded  # deleted again at once: the next try is sound
    return claim


def _key(request: web.Request) -> str | None:
    keys = request.headers.getall(HEADER, ())
    if not keys:
        return None
    if len(keys) > 1 or not keys[0].isprintable() or not 1 <= len(keys[0]) <= MAX_KEY:
        status = request[FAMILY].invalid_status if FAMILY in request else 422
        raise invalid(HEADER, f"must be one key of 1 to {MAX_KEY} printable characters", "key", status=status)
    return keys[0]


def _fingerprint(request: web.Request) -> bytes:
    """The digest of the request; the owner is part of it, because it may depend on the caller's role."""
    path, _, query = request.raw_path.partition("?")
    parts = (request.method, path.rstrip("/"), query, request.content_type, request[OWNER])
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape") + b"\0" + request.get(BODY, b"")).digest()


def _to_answer(response: web.Response) -> Answer:
    assert isinstance(response.body, bytes)
    headers = {str(name): response.headers[name] for name in STORED_HEADERS if name in response.headers}
    return Answer(response.status, orjson.dumps(headers).decode(), response.body)


def _replay(answer: Answer) -> web.Response:
    headers = PRIVATE | orjson.loads(answer.headers) | REPLAYED
    return web.Response(body=answer.body, status=answer.status, headers=headers, content_type="application/json")
