"""The tables of the service on a Citus cluster: which are spread over the servers, and by which column.

All rows of a user are in the same shard, `users` too, so a statement about one user goes to one server, foreign keys
hold and deletions cascade. Emails are in a group of their own, by themselves. The audit log is one shard: its chain is
one. `token_epochs`, `schema_migrations` and an auth server's sessions stay on the coordinator, which all go through.
"""

from collections.abc import Callable, Iterable, Mapping

from todo_service.postgres import citus
from todo_service.postgres.connection import Connection
from todo_service.postgres.migrations import MigrationError

# The column by which each table is spread, parents first; None for a table of one shard.
COLUMNS: Mapping[str, str | None] = {
    "users": "id", "task_clocks": "user_id", "tasks": "user_id", "task_changes": "user_id",
    "idempotency_keys": "user_id", "user_api_keys": "user_id", "refresh_tokens": "user_id",
    "ended_sessions": "user_id", "personal_tokens": "user_id", "one_time_tokens": "user_id",
    "account_emails": "email_key", "audit_log": None,
}  # fmt: skip
OWN_GROUP = {"account_emails", "audit_log"}
# Several servers cannot keep these: no value is unique over all shards unless the table is spread by it.
TRIGGERS = {"users": "users_keep_account_emails"}
UNIQUE = {"users": "users_email_key_unique"}

SELECT_DISTRIBUTED = "SELECT logicalrelid::regclass::text FROM pg_dist_partition"
SELECT_SERVERS = "SELECT count(*) FROM citus_get_active_worker_nodes()"
SELECT_PRESENT = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL"
SELECT_FOREIGN_KEYS = """
SELECT conrelid::regclass::text AS name, conname, confrelid::regclass::text AS target, pg_get_constraintdef(oid) AS text
FROM pg_constraint
WHERE contype = 'f' AND conrelid::regclass::text = ANY ($1::text[]) AND confrelid::regclass::text = ANY ($1)
ORDER BY conname"""
SELECT_DATABASE = "SELECT quote_ident(current_database())"
# Without it, asyncpg's look-up of types takes a second on each new connection.
SET_VISIBILITY = "ALTER DATABASE {database} SET citus.override_table_visibility = off"
ONE_BY_ONE = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"


async def is_distributed(db: Connection) -> bool:
    """Return whether `users` is spread over several servers."""
    return await citus.is_present(db) and "users" in await _distributed(db)


async def plan(db: Connection) -> list[str]:
    """Return the statements that spread the tables which are not spread yet, in their order.

    Raises:
        MigrationError: The database is none of a Citus coordinator, or it has no server besides.
    """
    if not await citus.is_present(db):
        raise MigrationError(
            "This database is not on a Citus coordinator: CREATE EXTENSION citus in it and on each worker first."
        )
    if not await db.fetchval(SELECT_SERVERS):
        raise MigrationError("The coordinator knows no worker: SELECT citus_add_node('host', 5432) first.")
    done = await _distributed(db)
    present = {row["name"] for row in await db.fetch(SELECT_PRESENT, list(COLUMNS))}
    tables = [table for table in COLUMNS if table in present and table not in done]
    if not tables:
        return []
    keys = [
        key
        for key in await db.fetch(SELECT_FOREIGN_KEYS, list(COLUMNS))
        if key["name"] in tables or key["target"] in tables
    ]
    statements = [f"ALTER TABLE {key['name']} DROP CONSTRAINT {key['conname']}" for key in keys]
    statements += [f"DROP TRIGGER IF EXISTS {name} ON {table}" for table, name in TRIGGERS.items() if table in tables]
    statements += [
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}" for table, name in UNIQUE.items() if table in tables
    ]
    statements += map(_spread, tables)
    statements += [
        f"ALTER TABLE {key['name']} ADD CONSTRAINT {key['conname']} {key['text']}"
        for key in keys
        if key["name"] not in OWN_GROUP
    ]
    # The rows that were copied are still on the coordinator, where none of them would ever be deleted.
    statements += [f"SELECT truncate_local_data_after_distributing_table('{table}')" for table in tables]
    return statements


async def apply(db: Connection, statements: Iterable[str], report: Callable[[str], None] = lambda _: None) -> None:
    """Spread the tables, in the caller's transaction. Each is locked from its turn on."""
    await db.execute(ONE_BY_ONE)
    for statement in statements:
        report(statement)
        await db.execute(statement)


async def configure(db: Connection) -> str:
    """Set the settings of the database, for connections of later; return the statement."""
    statement = SET_VISIBILITY.format(database=await db.fetchval(SELECT_DATABASE))
    await db.execute(statement)
    return statement


def _spread(table: str) -> str:
    column = COLUMNS[table]
    if column is None:
        return f"SELECT create_distributed_table('{table}', NULL, colocate_with => 'none')"
    group = "none" if table in OWN_GROUP or table == "users" else "users"
    return f"SELECT create_distributed_table('{table}', '{column}', colocate_with => '{group}')"


async def _distributed(db: Connection) -> set[str]:
    return {row[0] for row in await db.fetch(SELECT_DISTRIBUTED)}
