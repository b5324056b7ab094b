"""Users' API keys for AI providers: store, test, read, delete. Only a service, for the owner, reads one in clear."""

import asyncpg
import structlog
from aiohttp import web

from todo_service.ai_providers import API_KEY_VALIDATOR, PROVIDERS, Provider, Verdict
from todo_service.auth import audit
from todo_service.auth.access import Access
from todo_service.auth.accounts import GONE, make_owner
from todo_service.auth.api_key_encryption import API_KEY_CIPHER, ApiKeyCipher, KeyContext
from todo_service.auth.caller import CALLER, OWNER, Kind
from todo_service.auth.rate_limiting import spend_for_user
from todo_service.config.scopes import Scope
from todo_service.errors import (
    ApiKeyRejected,
    EncryptionNotConfigured,
    InvalidApiKey,
    NotFound,
    Overloaded,
    ProviderUnreachable,
    Unauthenticated,
)
from todo_service.limits.load import LOAD
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.queries import audit_log, standbys, user_api_keys, users
from todo_service.queries.user_api_keys import ApiKeyRow
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
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

SERVICE = "service"  # the actor in the audit log when a service has read a key
NO_KEY = "You have no API key stored for this provider."

log = structlog.get_logger()


@describe({201: ApiKeyStored}, errors=(EncryptionNotConfigured, InvalidApiKey, ProviderUnreachable, ApiKeyRejected))
async def store_api_key(request: web.Request, body: ApiKeyInput) -> web.Response:
    """Validate a key with its provider, and store it if it is valid, in place of the last one."""
    cipher, provider = _cipher(request), PROVIDERS[body.provider]
    api_key = body.key_for(provider)
    verdict = await _validate(request, provider, api_key)
    if verdict is Verdict.INVALID:
        raise ApiKeyRejected
    context = KeyContext(request[OWNER], provider.name)
    await _store(request, context, cipher.encrypt(api_key, context), verdict)
    log.info("api_key_stored", user_id=context.user_id, provider=context.provider, validation_status=verdict.value)
    return responses.json(stored(api_key, verdict), status=201, headers=responses.SECRET)


@describe({200: ApiKeyTested}, errors=(EncryptionNotConfigured, InvalidApiKey, ProviderUnreachable))
async def try_api_key(request: web.Request, body: ApiKeyInput) -> web.Response:
    """Validate a key with its provider; nothing is stored."""
    _cipher(request)
    provider = PROVIDERS[body.provider]
    verdict = await _validate(request, provider, body.key_for(provider))
    return responses.json(tested(verdict), headers=responses.SECRET)


@describe({200: ApiKeyState}, errors=(EncryptionNotConfigured,))
async def read_api_key(request: web.Request, query: ApiKeyQuery) -> web.Response:
    """Read the stored key: masked for its owner, in clear for a service that acts for them."""
    cipher = _cipher(request)
    row = await _select(request, query.provider)
    if row is None:
        return responses.json(absent(query.provider), headers=responses.SECRET)
    api_key = cipher.decrypt(row.ciphertext, KeyContext(request[OWNER], query.provider))
    in_clear = _is_service(request)
    if api_key is None:
        log.error("api_key_undecryptable", user_id=row.user_id, provider=row.provider)
    elif in_clear:
        log.info("api_key_read", user_id=row.user_id, provider=row.provider)
    return responses.json(document(row, api_key, in_clear=in_clear), headers=responses.SECRET)


@describe({200: ApiKeyDeleted}, errors=(EncryptionNotConfigured, NotFound))
async def delete_api_key(request: web.Request, query: ApiKeyQuery) -> web.Response:
    """Delete the stored key."""
    _cipher(request)
    async with request.app[DATABASE].connection() as db:
        if not await user_api_keys.delete(db, owner_id=request[OWNER], provider=query.provider):
            await standbys.wait(db)  # it may have been deleted a moment ago
            raise NotFound(NO_KEY)
    log.info("api_key_deleted", user_id=request[OWNER], provider=query.provider)
    return responses.json(deleted(), headers=responses.SECRET)


def _cipher(request: web.Request) -> ApiKeyCipher:
    if API_KEY_CIPHER not in request.app:
        raise EncryptionNotConfigured
    return request.app[API_KEY_CIPHER]


def _is_service(request: web.Request) -> bool:
    return request[CALLER].kind is Kind.SERVICE


async def _validate(request: web.Request, provider: Provider, api_key: str) -> Verdict:
    """Ask the provider, after the attempt was counted. No connection is held meanwhile."""
    await spend_for_user(request, Limit.KEY_VALIDATION, request[OWNER])
    outcome = "unreachable"
    try:
        with request.app[LOAD].wait():
            verdict = await request.app[API_KEY_VALIDATOR].validate(provider, api_key)
        outcome = verdict.value
    finally:
        request.app[METRICS].key_validated(provider.name, outcome)
    return verdict


async def _store(request: web.Request, context: KeyContext, ciphertext: str, verdict: Verdict) -> None:
    """A caller from elsewhere gets a row with the first key; an account that is gone is not created again."""
    caller = request[CALLER]
    columns = {"owner_id": context.user_id, "provider": context.provider, "ciphertext": ciphertext}
    async with request.app[DATABASE].connection() as db:
        if await users.select(db, user_id=caller.user_id) is None:
            if caller.kind is not Kind.ACCOUNT and await audit_log.is_deleted(db, subject_id=caller.user_id):
                raise Overloaded  # the verdict arrives after the end of the account, which is not created again
            await make_owner(db, caller)
        try:
            await user_api_keys.upsert(db, **columns, validation_status=verdict.value)
        except asyncpg.ForeignKeyViolationError:
            if caller.kind is Kind.ACCOUNT:
                raise Unauthenticated(GONE) from None
            raise


async def _select(request: web.Request, provider: str) -> ApiKeyRow | None:
    """Read the stored key; the same statement records in the audit log that a service reads it."""
    owner_id = request[OWNER]
    async with request.app[DATABASE].connection() as db:
        if not _is_service(request):
            return await user_api_keys.select(db, owner_id=owner_id, provider=provider)
        entry = audit.entry_of(request, "api_key_read", provider, actor_id=SERVICE)
        return await user_api_keys.select_audited(db, entry, owner_id=owner_id, provider=provider)


KEYS, CURRENT = "/api/user-api-keys", "/api/user-api-keys/current"
USER_API_KEYS = (
    Route("POST", KEYS, store_api_key, Access.USER, "Store my API key", body=ApiKeyInput),
    Route("POST", f"{KEYS}/test", try_api_key, Access.USER, "Test an API key", body=ApiKeyInput, name="test_api_key"),
    Route("GET", CURRENT, read_api_key, Access.USER, "Read my API key", (Scope.KEYS_READ,), query=ApiKeyQuery),
    Route("DELETE", CURRENT, delete_api_key, Access.USER, "Delete my API key", query=ApiKeyQuery),
)
