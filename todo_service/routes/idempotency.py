"""Exactly once: a request that names an `Idempotency-Key` changes something once, however often it is sent
(draft-ietf-httpapi-idempotency-key-header). A refusal changes nothing and is not kept: the key stays free.
"""

import hashlib
from collections.abc import Awaitable, Callable

import asyncpg
import orjson
from aiohttp import hdrs, web

from todo_service.auth.accounts import GONE
from todo_service.auth.caller import CALLER, OWNER, Kind
from todo_service.errors import IdempotencyKeyReused, Unauthenticated, invalid
from todo_service.postgres.connector import Connection
from todo_service.postgres.pool import DATABASE
from todo_service.queries import idempotency_keys
from todo_service.queries.idempotency_keys import Answer, Claim
from todo_service.routes import task_log
from todo_service.routes.request_bodies import BODY
from todo_service.routes.responses import PRIVATE
from todo_service.wire.families import FAMILY

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
MAX_KEY = 255  # characters
KEPT_HEADERS = (hdrs.LOCATION, hdrs.ETAG)

Act = Callable[[Connection], Awaitable[web.Response]]


async def once(request: web.Request, act: Act, *, atomic: bool = False) -> web.Response:
    """The answer of `act`, or the one it gave when the request's key was first seen. `atomic` if it is more than one
    statement: then they are one transaction also without a key.

    Raises what `act` raises, `IdempotencyKeyReused`, and `ValidationFailed` for a key that is none.
    """
    key = _key(request)
    try:
        answer = await _attempt(request, act, key, atomic=atomic)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "tasks_pkey":
            raise
        # Another create with this task id was committed meanwhile: now it is there to be compared with.
        task_log.forget(request)
        answer = await _attempt(request, act, key, atomic=atomic)
    task_log.tell(request)
    return answer


async def _attempt(request: web.Request, act: Act, key: str | None, *, atomic: bool) -> web.Response:
    database = request.app[DATABASE]
    if key is None and not atomic:
        async with database.connection() as db:
            return await act(db)
    async with database.transaction() as db:
        return await act(db) if key is None else await _kept(request, act, key, db)


async def _kept(request: web.Request, act: Act, key: str, db: Connection) -> web.Response:
    fingerprint = _fingerprint(request)
    claim = await _claim(request, key, fingerprint, db)
    if claim.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    if claim.answer is not None:
        return _replay(claim.answer)
    response = await act(db)
    await idempotency_keys.store(db, user_id=request[CALLER].user_id, key=key, answer=_as_sent(response))
    return response


async def _claim(request: web.Request, key: str, fingerprint: bytes, db: Connection) -> Claim:
    caller = request[CALLER]
    if caller.kind is Kind.ACCOUNT:
        claim = await idempotency_keys.claim(db, user_id=caller.user_id, key=key, fingerprint=fingerprint)
    else:
        claim = await idempotency_keys.claim_first(
            db, user_id=caller.user_id, email=caller.email, key=key, fingerprint=fingerprint
        )
    if claim is None:
        raise Unauthenticated(GONE)
    return claim


def _key(request: web.Request) -> str | None:
    keys = request.headers.getall(HEADER, [])
    if not keys:
        return None
    if len(keys) > 1 or not keys[0].isprintable() or not 1 <= len(keys[0]) <= MAX_KEY:
        status = request[FAMILY].invalid_status if FAMILY in request else 422
        raise invalid(HEADER, f"must be one key of 1 to {MAX_KEY} printable characters", "key", status=status)
    return keys[0]


def _fingerprint(request: web.Request) -> bytes:
    """What tells this request from another one under the same key; whose tasks it is about may depend on a role."""
    path, _, query = request.raw_path.partition("?")
    parts = (request.method, path.rstrip("/"), query, request.content_type, request[OWNER])
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape") + b"\0" + request[BODY]).digest()


def _as_sent(response: web.Response) -> Answer:
    assert isinstance(response.body, bytes)
    headers = {str(name): response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Answer(response.status, orjson.dumps(headers).decode(), response.body)


def _replay(answer: Answer) -> web.Response:
    headers = PRIVATE | orjson.loads(answer.headers) | REPLAYED
    return web.Response(body=answer.body, status=answer.status, headers=headers, content_type="application/json")
