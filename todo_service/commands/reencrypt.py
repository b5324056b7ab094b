"""`bin/reencrypt`: encrypt every stored API key under the first key of ENCRYPTION_KEY, so that the others can be
removed from it. Run it when every replica has the new list. It is safe while the service runs and twice at once; when
it is interrupted, run it again. At its end it reads every row once more and reports the result.
"""

import argparse
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console
from rich.progress import Progress

from todo_service.auth.api_key_encryption import ApiKeyCipher, KeyContext
from todo_service.commands import command
from todo_service.commands.command_settings import EncryptionSettings
from todo_service.config.settings import Settings
from todo_service.postgres.database import Database
from todo_service.queries import user_api_keys
from todo_service.queries.user_api_keys import ApiKeyRow

BATCH = 200
EXAMPLES = (
    "ENCRYPTION_KEY=new,old bin/reencrypt",
    "bin/reencrypt --json",
    "bin/reencrypt --batch 20   # where 200 rows at once hold others up",
)


@dataclass
class Verification:
    """The result of the verification: rows under the first key, rows under another one, rows that no key decrypts."""

    current: int = 0
    older: int = 0
    undecryptable: list[KeyContext] = field(default_factory=list)


def main() -> int:
    """Return 0 when every row is under the first key, 1 if not, 2 for misuse."""
    parser = command.Parser(prog="bin/reencrypt", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"rows in one transaction (default: {BATCH})")
    parser.add_json()
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    return command.run_with_database(partial(_reencrypt, arguments), needed=EncryptionSettings)


async def _reencrypt(arguments: argparse.Namespace, settings: Settings, database: Database) -> int:
    cipher = ApiKeyCipher(settings.encryption_keys)
    async with database.connection() as db:
        total = await user_api_keys.count_any_owner(db)
    with Progress(console=Console(stderr=True)) as progress:
        renewing, verifying = (progress.add_task(name, total=total) for name in ("re-encrypting", "verifying"))
        renewed = 0
        async for rows in _pages(database, arguments.batch):
            renewed += await _renew(database, cipher, rows)
            progress.advance(renewing, len(rows))
        verification = Verification()
        async for rows in _pages(database, arguments.batch):
            _verify(cipher, rows, verification)
            progress.advance(verifying, len(rows))
    _report(arguments, renewed, verification)
    return _exit_status(verification)


async def _pages(database: Database, size: int) -> AsyncIterator[list[ApiKeyRow]]:
    """Yield all rows in the order of their owners, `size` at a time."""
    after = ("", "")
    while True:
        async with database.connection() as db:
            rows = await user_api_keys.select_page_any_owner(db, after=after, at_most=size)
        if not rows:
            return
        yield rows
        after = (rows[-1].user_id, rows[-1].provider)


async def _renew(database: Database, cipher: ApiKeyCipher, rows: list[ApiKeyRow]) -> int:
    """Reencrypt the rows under older keys and return their number.

    Rows that are replaced meanwhile stay as they are.
    """
    older = [(row, cipher.reencrypt(row.ciphertext, _context(row))) for row in rows if not _is_current(cipher, row)]
    renewed = 0
    if older:
        async with database.transaction() as db:
            for row, ciphertext in older:
                if ciphertext is not None:
                    renewed += await user_api_keys.update_ciphertext(db, row, ciphertext=ciphertext)
    return renewed


def _verify(cipher: ApiKeyCipher, rows: list[ApiKeyRow], verification: Verification) -> None:
    for row in rows:
        if _is_current(cipher, row):
            verification.current += 1
        elif cipher.decrypt(row.ciphertext, _context(row)) is not None:
            verification.older += 1
        else:
            verification.undecryptable.append(_context(row))


def _is_current(cipher: ApiKeyCipher, row: ApiKeyRow) -> bool:
    return cipher.is_current(row.ciphertext, _context(row))


def _context(row: ApiKeyRow) -> KeyContext:
    return KeyContext(row.user_id, row.provider)


def _report(arguments: argparse.Namespace, renewed: int, verification: Verification) -> None:
    document: dict[str, object] = {"reencrypted": renewed, "under_first_key": verification.current}
    document |= {
        "under_older_keys": verification.older,
        "undecryptable": [context._asdict() for context in verification.undecryptable],
    }
    lines = [
        f"{renewed} API keys re-encrypted; {verification.current} are under the first key now, each was read again"
    ]
    lines += [
        f"cannot be decrypted: user {context.user_id}, {context.provider}" for context in verification.undecryptable
    ]
    command.report(document, *lines, as_json=arguments.json)


def _exit_status(verification: Verification) -> int:
    """Return the exit status, with a reason on standard error if it is not 0."""
    if verification.older:
        return command.fail(
            f"{verification.older} API keys were stored under an older key meanwhile: restart every replica with the"
            " new ENCRYPTION_KEY, then run bin/reencrypt again. Take no key out of it before."
        )
    if verification.undecryptable:
        return command.fail(
            f"{len(verification.undecryptable)} API keys cannot be decrypted and stay as they are: is a key missing in"
            " ENCRYPTION_KEY? Their owners can also store them again."
        )
    return 0
