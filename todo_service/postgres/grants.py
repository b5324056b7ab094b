"""The privileges of a role that serves and owns nothing: it reads and writes rows, and cannot change a table."""

from collections.abc import Collection

from todo_service.postgres.connection import Connection
from todo_service.postgres.migrations import MigrationError

WRITE = "SELECT, INSERT, UPDATE, DELETE"
FEWER = {
    "audit_log": "SELECT, INSERT",  # an entry cannot be changed by the service
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


async def grant(db: Connection, role: str, tables: Collection[str]) -> set[str]:
    """Give a role the rights of serving, on the present tables and on those of later migrations. Repeating it is safe.

    Returns:
        The tables that are not ours to grant, such as that of an auth server.

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
            await db.execute(f"GRANT {FEWER.get(table, WRITE)} ON TABLE {schema}.{table} TO {grantee}")
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {names['owner']} IN SCHEMA {schema}"
        await db.execute(f"{later} GRANT {WRITE} ON TABLES TO {grantee}")
    return {*tables} - own
