"""The privileges of a role that serves and owns nothing: it reads and writes rows, and cannot change a table."""

from collections.abc import Collection

from todo_service.postgres.connection import Connection
from todo_service.postgres.migrations import MigrationError

WRITE = "SELECT, INSERT, UPDATE, DELETE"
FEWER = {
    "audit_log": "SELECT, INSERT, UPDATE (sequence, seal)",  # the service seals an entry and cannot change it
    "token_epochs": "SELECT",
    "schema_migrations": "SELECT",
    "user_sessions": "SELECT",  # an auth server's
}
SELECT_NAMES = """
SELECT quote_ident(role.rolname) AS role, quote_ident(current_schema()) AS schema,
    quote_ident(current_database()) AS database, quote_ident(current_user) AS owner,
    role.rolname = current_user AS is_owner
FROM pg_roles AS role WHERE role.rolname = $1"""
SELECT_OWN = """
SELECT name FROM unnest($1::text[]) AS name
JOIN pg_class ON pg_class.oid = to_regclass(name) AND pg_has_role(pg_class.relowner, 'USAGE')"""
# Their numbers are part of a backup.
SELECT_SEQUENCES = """
SELECT oid::regclass::text AS name FROM pg_class
WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace AND pg_has_role(relowner, 'USAGE')"""
SELECT_READABLE = """
SELECT has_schema_privilege($1, pg_namespace.oid, 'USAGE') AND has_table_privilege($1, pg_class.oid, 'SELECT')
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = coalesce(nullif($2, ''), current_schema()) AND relname = $3"""


SELECT_CREATION = """
SELECT format(
    '%s ROLE %I LOGIN PASSWORD %L',
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text) THEN 'ALTER' ELSE 'CREATE' END, $1::text, $2::text
)"""


async def create_role(db: Connection, role: str, password: str) -> None:
    """Create a role that can connect with this password, or give it this password if it is there."""
    await db.execute(await db.fetchval(SELECT_CREATION, role, password))


# Not the owner, whose own rights are in the list too once any role was granted some.
SELECT_SERVING = """
SELECT DISTINCT pg_get_userbyid(acl.grantee) AS role FROM pg_class, aclexplode(relacl) AS acl
WHERE pg_class.oid = to_regclass('tasks') AND acl.privilege_type = 'INSERT'
    AND acl.grantee NOT IN (0, relowner) AND pg_has_role(relowner, 'USAGE')"""


async def serving_roles(db: Connection) -> list[str]:
    """Return the roles that may write tasks and do not own them, if this connection's role does."""
    return [row["role"] for row in await db.fetch(SELECT_SERVING)]


async def grant(db: Connection, role: str, tables: Collection[str], *, session_table: str) -> set[str]:
    """Give a role the rights of serving, on the present tables and on those of later migrations. Repeating it is safe,
    and takes back rights that it does not need.

    Args:
        session_table: The table of an auth server's sessions, `name` or `schema.name`.

    Returns:
        The tables that are not ours to grant and that the role cannot read yet.

    Raises:
        MigrationError: There is no such role, or it is the one that this connection has.
    """
    names = await db.fetchrow(SELECT_NAMES, role)
    if names is None:
        raise MigrationError(f"There is no role {role}: CREATE ROLE {role} LOGIN PASSWORD '…' first.")
    if names["is_owner"]:
        raise MigrationError(f"{role} is DATABASE_URL's own role, which owns the tables: name the one that serves.")
    schema, grantee = names["schema"], names["role"]
    own = {row["name"] for row in await db.fetch(SELECT_OWN, [*tables])}
    async with db.transaction():
        await db.execute(f"GRANT CONNECT ON DATABASE {names['database']} TO {grantee}")
        await db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {grantee}")
        for table in sorted(own):
            await db.execute(f"REVOKE ALL ON TABLE {schema}.{table} FROM {grantee}")
            await db.execute(f"GRANT {FEWER.get(table, WRITE)} ON TABLE {schema}.{table} TO {grantee}")
        for row in await db.fetch(SELECT_SEQUENCES):
            await db.execute(f"GRANT SELECT ON SEQUENCE {row['name']} TO {grantee}")
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {names['owner']} IN SCHEMA {schema}"
        await db.execute(f"{later} GRANT {WRITE} ON TABLES TO {grantee}")
        await db.execute(f"{later} GRANT SELECT ON SEQUENCES TO {grantee}")
    others = {*tables} - own - {"user_sessions"} | {session_table}
    return {table for table in others if await _is_refused(db, role, table)}


async def _is_refused(db: Connection, role: str, table: str) -> bool:
    schema, _, name = table.rpartition(".")
    return await db.fetchval(SELECT_READABLE, role, schema, name) is False
