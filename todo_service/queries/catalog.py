"""PostgreSQL's own catalog: the service's tables in a database, and operations on whole tables."""

from collections.abc import Collection
from dataclasses import dataclass

from todo_service.postgres.connection import Connection

_MADE_BY_US = "made by todo-service"  # the comment of migration 0008
_AUTH_SERVERS = "user_sessions"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, its schema, and its quoted name with the schema.

    `is_shared` marks a table that an auth server created, which is not ours to copy or drop.
    """

    name: str
    schema: str
    qualified: str
    is_shared: bool


SELECT_TABLES = f"""
SELECT
    class.relname, space.nspname, format('%I.%I', space.nspname, class.relname),
    class.relname = '{_AUTH_SERVERS}' AND obj_description(class.oid, 'pg_class') IS DISTINCT FROM '{_MADE_BY_US}'
FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.oid IN (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS wanted (name))
ORDER BY class.relname"""


async def select_tables(db: Connection, *, names: Collection[str]) -> list[Table]:
    """Return those of the named tables that the connection finds, by name."""
    return [Table(*row) for row in await db.fetch(SELECT_TABLES, list(names))]


SELECT_SERVER_VERSION = "SELECT current_setting('server_version_num')::integer / 10000"


async def select_server_version(db: Connection) -> int:
    """Return the server's major version, such as `18`."""
    version: int = await db.fetchval(SELECT_SERVER_VERSION)
    return version


SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '2s', true)"


async def update_lock_timeout(db: Connection) -> None:
    """Set a lock timeout of 2 seconds until the transaction ends."""
    await db.execute(SET_LOCK_TIMEOUT)


def may_be_shared(name: str) -> bool:
    """Return whether an auth server makes a table of this name too."""
    return name == _AUTH_SERVERS


async def drop(db: Connection, *, tables: Collection[Table]) -> None:
    """Drop tables, all or none.

    Raises asyncpg's `DependentObjectsStillExistError` if a foreign object depends on one.
    """
    if any(table.name == "task_changes" for table in tables):
        await db.execute("DROP VIEW IF EXISTS task_tombstones")  # of migration 30
    if tables:
        await db.execute(f"DROP TABLE {_list(tables)}")


async def analyze(db: Connection, *, tables: Collection[Table]) -> None:
    """Update the planner's statistics of tables that were just filled."""
    await db.execute(f"ANALYZE {_list(tables)}")


def _list(tables: Collection[Table]) -> str:
    return ", ".join(table.qualified for table in tables)
