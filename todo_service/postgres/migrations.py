"""Migrations: numbered SQL files, each applied once, in order, in its own transaction, by the operator.

`sql/NNNN_verb_noun.sql` goes up, `sql/NNNN_verb_noun.down.sql` reverts it. A file begins with two comment lines: why it
exists, and whether it is safe while the previous release serves. `schema_migrations` stores each applied migration with
the file's SHA-256, so an applied file is never edited, and with its compatibility, so an older release behind an
incompatible migration turns unready. All locks are transaction-level, so everything here works through a transaction
pooler; of two migrators at once one waits.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from todo_service.config.settings import IN_CHECKOUT, PACKAGE
from todo_service.postgres.connection import Connection

FOLDER = (PACKAGE.parent if IN_CHECKOUT else PACKAGE) / "sql"
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
TABLES = re.compile(r"^ *(CREATE|DROP) TABLE (\w+)", re.MULTILINE)
HEADER = re.compile(r"-- Why: .+\n-- Safe while the old code serves: (yes|no)\b.*\n")
LOCK_KEY = 0x746F646F  # "todo"
LOCK_TIMEOUT = "2s"
LOCK_ATTEMPTS = 5

TAKE_LOCK = "SELECT pg_advisory_xact_lock($1)"
NO_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 0"
SET_LOCK_TIMEOUT = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    compatible boolean     NOT NULL DEFAULT true,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (number)
)"""
# Tables of older releases have no such column. ALTER locks out readers until the transaction ends, so look first.
LACKS_COMPATIBLE = """
SELECT NOT EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('schema_migrations') AND attname = 'compatible'
)"""
ADD_COMPATIBLE = "ALTER TABLE schema_migrations ADD COLUMN compatible boolean NOT NULL DEFAULT true"
SELECT_ENCODING = "SHOW server_encoding"
TABLE_EXISTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"
SELECT_APPLIED = """
SELECT number, name, sha256, coalesce((to_jsonb(applied) ->> 'compatible')::boolean, true) AS compatible
FROM schema_migrations AS applied ORDER BY number"""
INSERT_APPLIED = "INSERT INTO schema_migrations (number, name, sha256, compatible) VALUES ($1, $2, $3, $4)"
DELETE_APPLIED = "DELETE FROM schema_migrations WHERE number = $1"
STATEMENT_NAMES = {
    SELECT_ENCODING: "migrations.select_encoding",
    TABLE_EXISTS: "migrations.table_exists",
    SELECT_APPLIED: "migrations.select_applied",
}  # of readiness

Report = Callable[[str], None]


class MigrationError(Exception):
    """The files or the database are not as required; the text has the remedy."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered pair of files.

    Attributes:
        sha256: The digest of the file that goes up, in hexadecimal.
        compatible: Whether the previous release can serve while it is applied and afterwards.
    """

    number: int
    name: str
    up: str
    down: str
    sha256: str
    compatible: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """The state of a database against the files.

    Attributes:
        applied: The names of the applied migrations by their numbers.
        incompatible: The first migration of a newer release that this release cannot work with, if any.
    """

    applied: dict[int, str]
    pending: tuple[Migration, ...]
    edited: tuple[Migration, ...]
    incompatible: str | None = None


def find(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return the migrations of a folder in order. Raises `MigrationError` for a gap, a missing half or header."""
    files = sorted(path for path in folder.glob("[0-9]*.sql") if not path.name.endswith(".down.sql"))
    if not files:
        raise MigrationError(f"There are no migrations in {folder}: it belongs beside the package.")
    migrations = tuple(_read(path) for path in files)
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(f"The files in {folder} must be numbered 0001, 0002, … without a gap or a repetition.")
    return migrations


def _read(path: Path) -> Migration:
    name = FILE_NAME.fullmatch(path.name)
    down = path.with_suffix(".down.sql")
    up = path.read_text(encoding="utf-8")
    header = HEADER.match(up)
    if name is None or header is None:
        raise MigrationError(f"{path.name}: name it NNNN_verb_noun.sql and begin with the two header lines.")
    if not down.exists():
        raise MigrationError(f"{path.name}: {down.name} is missing.")
    sha256 = hashlib.sha256(up.encode()).hexdigest()
    undo = down.read_text(encoding="utf-8")
    return Migration(int(name[1]), path.stem, up, undo, sha256, compatible=header[1] == "yes")


async def state(db: Connection, migrations: tuple[Migration, ...]) -> State:
    """Compare a database with the files. Migrations of a newer release are applied, never pending."""
    rows = await db.fetch(SELECT_APPLIED) if await db.fetchval(TABLE_EXISTS) else []
    sums = {row["number"]: row["sha256"] for row in rows}
    newer = (row["name"] for row in rows if row["number"] > len(migrations) and not row["compatible"])
    return State(
        applied={row["number"]: row["name"] for row in rows},
        pending=tuple(m for m in migrations if m.number not in sums),
        edited=tuple(m for m in migrations if sums.get(m.number, m.sha256) != m.sha256),
        incompatible=next(newer, None),
    )


async def up(db: Connection, migrations: tuple[Migration, ...], report: Report = lambda _: None) -> int:
    """Apply the pending migrations, one transaction each, and return their number. Raises `MigrationError`."""
    count = 0
    while await _with_patience(lambda: _apply_next(db, migrations, report)):
        count += 1
    return count


async def down(db: Connection, migrations: tuple[Migration, ...], steps: int, report: Report = lambda _: None) -> int:
    """Revert the newest `steps` migrations, one transaction each, and return the number of reverted ones."""
    count = 0
    while count < steps and await _with_patience(lambda: _revert_last(db, migrations, report)):
        count += 1
    return count


def tables(migrations: Iterable[Migration]) -> tuple[str, ...]:
    """Return the names of the tables that are there after these migrations, and of `schema_migrations`."""
    names: dict[str, None] = {}
    for migration in migrations:
        for verb, name in TABLES.findall(migration.up):
            if verb == "CREATE":
                names[name] = None
            else:
                names.pop(name, None)
    return *names, "schema_migrations"


async def lock(db: Connection) -> None:
    """Keep every other migrator waiting until the transaction ends."""
    await db.execute(NO_STATEMENT_TIMEOUT)
    await db.execute(TAKE_LOCK, LOCK_KEY)


async def _apply_next(db: Connection, migrations: tuple[Migration, ...], report: Report) -> bool:
    async with _locked(db):
        current = await _checked_state(db, migrations)
        if not current.pending:
            return False
        migration = current.pending[0]
        await _execute(db, migration.name, migration.up)
        await db.execute(INSERT_APPLIED, migration.number, migration.name, migration.sha256, migration.compatible)
    report(f"applied {migration.name}")
    return True


async def _revert_last(db: Connection, migrations: tuple[Migration, ...], report: Report) -> bool:
    async with _locked(db):
        current = await _checked_state(db, migrations)
        if not current.applied:
            return False
        number = max(current.applied)
        if number > len(migrations):
            raise MigrationError(f"{current.applied[number]} is of a newer release: take it back with that release.")
        migration = migrations[number - 1]
        await _execute(db, migration.name, migration.down)
        await db.execute(DELETE_APPLIED, number)
    report(f"took back {migration.name}")
    return True


@asynccontextmanager
async def _locked(db: Connection) -> AsyncIterator[None]:
    async with db.transaction(isolation="read_committed"):
        await lock(db)
        await db.execute(SET_LOCK_TIMEOUT)
        await db.execute(CREATE_TABLE)
        if await db.fetchval(LACKS_COMPATIBLE):
            await db.execute(ADD_COMPATIBLE)
        yield


async def wrong_encoding(db: Connection) -> str | None:
    """Return a sentence if the database cannot hold every text."""
    encoding = await db.fetchval(SELECT_ENCODING)
    if encoding == "UTF8":
        return None
    return f"the encoding of the database is {encoding}: it must be UTF8 (createdb --encoding=UTF8 -T template0)"


async def _checked_state(db: Connection, migrations: tuple[Migration, ...]) -> State:
    if wrong := await wrong_encoding(db):
        raise MigrationError(f"Nothing was applied: {wrong}.")
    current = await state(db, migrations)
    if current.edited:
        names = ", ".join(migration.name for migration in current.edited)
        raise MigrationError(f"Edited after they were applied: {names}. Restore the files and write a new migration.")
    return current


async def _execute(db: Connection, name: str, sql: str) -> None:
    try:
        await db.execute(sql)
    except asyncpg.LockNotAvailableError:
        raise
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{name} failed and left nothing behind: {error} ({error.sqlstate})") from error


async def _with_patience(step: Callable[[], Awaitable[bool]]) -> bool:
    """Try again when a table is in use for longer than `LOCK_TIMEOUT`: a queued ALTER would hold up every reader."""
    for attempt in range(LOCK_ATTEMPTS):
        try:
            return await step()
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(attempt)
    raise MigrationError(f"A table was in use for longer than {LOCK_TIMEOUT}, {LOCK_ATTEMPTS} times; try again later.")
