"""`user_api_keys`: one encrypted key of each user for each AI provider; the ciphertext is opaque here."""

from dataclasses import dataclass, field
from datetime import datetime

from todo_service.postgres.connection import Connection
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.statements import Columns


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """One stored key; `validation_status` is the provider's verdict at `last_validated_at`."""

    user_id: str
    provider: str
    ciphertext: str = field(repr=False)
    validation_status: str
    last_validated_at: datetime
    created_at: datetime
    updated_at: datetime


API_KEY_COLUMNS = Columns(ApiKeyRow)

UPSERT = """
INSERT INTO user_api_keys (user_id, provider, ciphertext, validation_status, last_validated_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (user_id, provider) DO UPDATE SET
    ciphertext = excluded.ciphertext, validation_status = excluded.validation_status,
    last_validated_at = excluded.last_validated_at, updated_at = excluded.updated_at"""


async def upsert(db: Connection, *, owner_id: str, provider: str, ciphertext: str, validation_status: str) -> None:
    """Store a key that was validated just now, in place of the last one.

    Raises:
        asyncpg.ForeignKeyViolationError: There is no such user (`user_api_keys_user_fkey`).
    """
    await db.execute(UPSERT, owner_id, provider, ciphertext, validation_status)


SELECT = f"SELECT {API_KEY_COLUMNS} FROM user_api_keys WHERE user_id = $1 AND provider = $2"


async def select(db: Connection, *, owner_id: str, provider: str) -> ApiKeyRow | None:
    """Return the owner's key for a provider."""
    row = await db.fetchrow(SELECT, owner_id, provider)
    return ApiKeyRow(*row) if row else None


# One statement, so that no key is read without a record of it.
SELECT_AUDITED = f"""
WITH found AS MATERIALIZED (
    SELECT {API_KEY_COLUMNS} FROM user_api_keys WHERE user_id = $1 AND provider = $2
), audited AS (
    INSERT INTO audit_log (action, actor_id, request_id, detail, address, subject_id)
    SELECT $3, $4, $5, $6, $7, user_id FROM found
)
SELECT {API_KEY_COLUMNS} FROM found"""


async def select_audited(db: Connection, act: AuditEntry, *, owner_id: str, provider: str) -> ApiKeyRow | None:
    """Return the key as `select` does, for a service that receives it in clear; the audit log records the act."""
    row = await db.fetchrow(SELECT_AUDITED, owner_id, provider, *act)
    return ApiKeyRow(*row) if row else None


DELETE = "DELETE FROM user_api_keys WHERE user_id = $1 AND provider = $2 RETURNING true"


async def delete(db: Connection, *, owner_id: str, provider: str) -> bool:
    """Delete a key; False if there is none."""
    return await db.fetchval(DELETE, owner_id, provider) is True


COUNT_ANY_OWNER = "SELECT count(user_id) FROM user_api_keys"


async def count_any_owner(db: Connection) -> int:
    """Return the number of keys."""
    count: int = await db.fetchval(COUNT_ANY_OWNER)
    return count


SELECT_PAGE_ANY_OWNER = f"""
SELECT {API_KEY_COLUMNS} FROM user_api_keys WHERE (user_id, provider) > ($1, $2) ORDER BY user_id, provider LIMIT $3"""


async def select_page_any_owner(db: Connection, *, after: tuple[str, str], at_most: int) -> list[ApiKeyRow]:
    """Return some keys by user and provider, the first ones after these; ("", "") comes before all."""
    return [ApiKeyRow(*row) for row in await db.fetch(SELECT_PAGE_ANY_OWNER, *after, at_most)]


UPDATE_CIPHERTEXT = """
UPDATE user_api_keys SET ciphertext = $4 WHERE user_id = $1 AND provider = $2 AND ciphertext = $3 RETURNING true"""


async def update_ciphertext(db: Connection, row: ApiKeyRow, *, ciphertext: str) -> bool:
    """Replace the ciphertext of the same key; False if it was replaced or deleted since the row was read."""
    return await db.fetchval(UPDATE_CIPHERTEXT, row.user_id, row.provider, row.ciphertext, ciphertext) is True
