"""PostgreSQL's own catalog: which tables of ours a database has, and what is done to tables as a whole."""

from collections.abc import Collection
from dataclasses import dataclass

from todo_service.postgres.connector import Connection

_MADE_BY_US = "made by todo-service"  # the comment that migration 0008 leaves on a table that might be somebody else's
_OFTEN_SHARED = "user_sessions"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is there: its name, and the same with its schema, quoted. `is_shared` says that an auth server made
    it, and that it is not ours to copy or drop.
    """

    name: str
    qualified: str
    is_shared: bool


SELECT_TABLES = f"""
SELECT
    class.relname, format('%I.%I', space.nspname, class.relname),
    class.relname = '{_OFTEN_SHARED}' AND obj_description(class.oid, 'pg_class') IS DISTINCT FROM '{_MADE_BY_US}'
FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.oid IN (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS wanted (name))
ORDER BY class.relname"""


async def select_tables(db: Connection, *, names: Collection[str]) -> list[Table]:
    """Those of the named tables that the connection finds, by name."""
    return [Table(*row) for row in await db.fetch(SELECT_TABLES, list(names))]


SELECT_SERVER_VERSION = "SELECT current_setting('server_version_num')::integer / 10000"


async def select_server_version(db: Connection) -> int:
    """The server's major version, as in `18`."""
    version: int = await db.fetchval(SELECT_SERVER_VERSION)
    return version


SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '2s', true)"


async def update_lock_timeout(db: Connection) -> None:
    """Wait for no table longer than 2 seconds, until the transaction ends."""
    await db.execute(SET_LOCK_TIMEOUT)


SELECT_SEARCH_PATH = "SELECT current_setting('search_path')"


async def select_search_path(db: Connection) -> str:
    """Where names without a schema are looked for."""
    path: str = await db.fetchval(SELECT_SEARCH_PATH)
    return path


UPDATE_SEARCH_PATH = "SELECT set_config('search_path', $1, true)"


async def update_search_path(db: Connection, path: str) -> None:
    """Look there, until the transaction ends."""
    await db.execute(UPDATE_SEARCH_PATH, path)


async def drop(db: Connection, *, tables: Collection[Table]) -> None:
    """Drop tables, all or none. Raises asyncpg's `DependentObjectsStillExistError` if somebody else builds on one."""
    if tables:
        await db.execute(f"DROP TABLE {_list(tables)}")


async def analyze(db: Connection, *, tables: Collection[Table]) -> None:
    """Let the planner know tables that were just filled."""
    await db.execute(f"ANALYZE {_list(tables)}")


def _list(tables: Collection[Table]) -> str:
    return ", ".join(table.qualified for table in tables)
