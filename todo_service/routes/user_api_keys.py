"""Users' API keys for AI providers: store, test, read, delete. In clear only a service reads one, for its owner."""

import structlog
from aiohttp import web

from todo_service.ai_providers import PROVIDERS, VALIDATOR, Provider, Verdict
from todo_service.auth.access import Access
from todo_service.auth.accounts import GONE
from todo_service.auth.api_key_encryption import KEY_BOX, KeyBox, Place
from todo_service.auth.caller import CALLER, OWNER, REQUEST_ID, Kind
from todo_service.auth.rate_limiting import charge_user
from todo_service.errors import (
    ApiKeyRejected,
    EncryptionNotConfigured,
    InvalidApiKey,
    NotFound,
    ProviderUnreachable,
    Unauthenticated,
)
from todo_service.limits.load import LIFE
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS
from todo_service.postgres.pool import DATABASE
from todo_service.queries import user_api_keys
from todo_service.queries.audit_log import Act
from todo_service.queries.user_api_keys import ApiKeyRow
from todo_service.routes import responses
from todo_service.routes.table import Route
from todo_service.wire.user_api_keys import (
    ApiKeyDeleted,
    ApiKeyInput,
    ApiKeyQuery,
    ApiKeyState,
    ApiKeyStored,
    ApiKeyTested,
    absent,
    deleted,
    document,
    stored,
    tested,
)

SERVICE = "service"  # whom the audit log names where a service has read a key
NO_KEY = "You have no API key stored for this provider."

log = structlog.get_logger()


async def store_api_key(request: web.Request, body: ApiKeyInput) -> web.Response:
    """Let the provider look at a key, and keep it if it is good, in place of the one before it."""
    box, provider = _box(request), PROVIDERS[body.provider]
    api_key = body.key_for(provider)
    verdict = await _verdict(request, provider, api_key)
    if verdict is Verdict.INVALID:
        raise ApiKeyRejected
    place = Place(request[OWNER], provider.name)
    await _store(request, place, box.seal(api_key, place), verdict)
    log.info("api_key_stored", user_id=place.user_id, provider=place.provider, validation_status=verdict.value)
    return responses.json(stored(api_key, verdict), status=201, headers=responses.SECRET)


async def try_api_key(request: web.Request, body: ApiKeyInput) -> web.Response:
    """Let the provider look at a key and say what it thinks; nothing is kept."""
    _box(request)
    provider = PROVIDERS[body.provider]
    verdict = await _verdict(request, provider, body.key_for(provider))
    return responses.json(tested(verdict), headers=responses.SECRET)


async def read_api_key(request: web.Request, query: ApiKeyQuery) -> web.Response:
    """Answer what is stored: masked to its owner, in clear to a service that acts for them."""
    box = _box(request)
    row = await _row(request, query.provider)
    if row is None:
        return responses.json(absent(query.provider), headers=responses.SECRET)
    api_key = box.open(row.ciphertext, Place(request[OWNER], query.provider))
    in_clear = _is_service(request)
    if api_key is None:
        log.error("api_key_undecryptable", user_id=row.user_id, provider=row.provider)
    elif in_clear:
        log.info("api_key_read", user_id=row.user_id, provider=row.provider)
    return responses.json(document(row, api_key, in_clear=in_clear), headers=responses.SECRET)


async def delete_api_key(request: web.Request, query: ApiKeyQuery) -> web.Response:
    """Delete what is stored."""
    _box(request)
    async with request.app[DATABASE].connection() as db:
        was_there = await user_api_keys.delete(db, owner_id=request[OWNER], provider=query.provider)
    if not was_there:
        raise NotFound(NO_KEY)
    log.info("api_key_deleted", user_id=request[OWNER], provider=query.provider)
    return responses.json(deleted(), headers=responses.SECRET)


def _box(request: web.Request) -> KeyBox:
    if KEY_BOX not in request.app:
        raise EncryptionNotConfigured
    return request.app[KEY_BOX]


def _is_service(request: web.Request) -> bool:
    return request[CALLER].kind is Kind.SERVICE


async def _verdict(request: web.Request, provider: Provider, api_key: str) -> Verdict:
    """What the provider says, after the attempt was counted. No connection and no place is held meanwhile."""
    await charge_user(request, Limit.KEY_VALIDATION, request[OWNER])
    outcome = "unreachable"
    try:
        with request.app[LIFE].waiting():
            verdict = await request.app[VALIDATOR].verdict(provider, api_key)
        outcome = verdict.value
    finally:
        request.app[METRICS].key_validated(provider.name, outcome)
    return verdict


async def _store(request: web.Request, place: Place, ciphertext: str, verdict: Verdict) -> None:
    """Whoever comes from elsewhere gets a row with the first key; an account that is gone stays gone."""
    caller = request[CALLER]
    kept = {"owner_id": place.user_id, "provider": place.provider, "ciphertext": ciphertext}
    async with request.app[DATABASE].connection() as db:
        if caller.kind is not Kind.ACCOUNT:
            await user_api_keys.upsert_first(db, **kept, validation_status=verdict.value, email=caller.email)
        elif not await user_api_keys.upsert(db, **kept, validation_status=verdict.value):
            raise Unauthenticated(GONE)


async def _row(request: web.Request, provider: str) -> ApiKeyRow | None:
    """What is stored. That a service reads it is written down in the same statement."""
    owner_id = request[OWNER]
    async with request.app[DATABASE].connection() as db:
        if not _is_service(request):
            return await user_api_keys.select(db, owner_id=owner_id, provider=provider)
        act = Act("api_key_read", SERVICE, request[REQUEST_ID], provider)
        return await user_api_keys.select_audited(db, act, owner_id=owner_id, provider=provider)


KEYS, CURRENT = "/api/user-api-keys", "/api/user-api-keys/current"
OF_ALL = (EncryptionNotConfigured,)
OF_VALIDATION = (*OF_ALL, InvalidApiKey, ProviderUnreachable)
OF_STORING = (*OF_VALIDATION, ApiKeyRejected)
USER_API_KEYS = (
    Route(
        "POST",
        KEYS,
        store_api_key,
        Access.USER,
        "Store my API key",
        body=ApiKeyInput,
        answers={201: ApiKeyStored},
        raises=OF_STORING,
    ),
    Route(
        "POST",
        f"{KEYS}/test",
        try_api_key,
        Access.USER,
        "Test an API key",
        body=ApiKeyInput,
        answers={200: ApiKeyTested},
        raises=OF_VALIDATION,
        name="test_api_key",
    ),
    Route(
        "GET",
        CURRENT,
        read_api_key,
        Access.USER,
        "Read my API key",
        query=ApiKeyQuery,
        answers={200: ApiKeyState},
        raises=OF_ALL,
    ),
    Route(
        "DELETE",
        CURRENT,
        delete_api_key,
        Access.USER,
        "Delete my API key",
        query=ApiKeyQuery,
        answers={200: ApiKeyDeleted},
        raises=(*OF_ALL, NotFound),
    ),
)
