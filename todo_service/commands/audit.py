"""`bin/audit`: export the audit log, or verify that no entry was changed, inserted or removed since it was sealed.

Entries are sealed by a service with AUDIT_KEY, within seconds, and verified with the same key. Pass the heads that the
service has logged (audit_log_head): without one, entries cut off at the end are not noticed.
"""

import argparse
import json
from functools import partial

from todo_service.auth import audit
from todo_service.auth.audit import BrokenChainError
from todo_service.commands import command
from todo_service.commands.command import CommandError
from todo_service.commands.command_settings import AuditSettings
from todo_service.config.settings import Settings
from todo_service.postgres.database import Database
from todo_service.queries import audit_log
from todo_service.queries.audit_log import Filter
from todo_service.wire.audit import entry

PAGE = 1000
EXAMPLES = (
    "bin/audit export >audit.jsonl",
    "bin/audit export --subject 01a1fe40-1817-7619-88f5-225fab816885",
    "bin/audit verify --head 4698:9f2c…   # from a line audit_log_head of the log",
)


def main() -> int:
    """Return 0 when done, 1 for a failure or a broken chain, 2 for misuse."""
    parser = command.Parser(prog="bin/audit", description=__doc__, examples=EXAMPLES)
    actions = parser.add_subparsers(required=True)
    export = actions.add_parser("export", help="one JSON object a line, newest first")
    export.add_argument("--actor", type=command.text, help="only acts of this actor")
    export.add_argument("--subject", type=command.text, help="only acts on this user")
    export.add_argument("--action", type=command.text, help="only acts of this kind")
    export.set_defaults(act=_export)
    verify = actions.add_parser("verify", help="check the chain of seals")
    verify.add_argument("--head", type=_head, action="append", default=[], help="SEQUENCE:SEAL of the log, repeatable")
    verify.add_json()
    verify.set_defaults(act=_verify)
    arguments = parser.parse_args()
    return command.run_with_database(partial(arguments.act, arguments), needed=AuditSettings)


async def _export(arguments: argparse.Namespace, _: Settings, database: Database) -> int:
    filters, before = Filter(arguments.actor, arguments.subject, arguments.action), None
    while True:
        async with database.connection() as db:
            rows = await audit_log.select_page(db, filters, before=before, limit=PAGE)
        for row in rows:
            print(json.dumps(entry(row) | {"seal": row.seal.hex() if row.seal else None}))
        if len(rows) < PAGE:
            return 0
        before = rows[-1].id


async def _verify(arguments: argparse.Namespace, settings: Settings, database: Database) -> int:
    if not settings.audit_keys:
        raise CommandError("AUDIT_KEY is not set: give the key that the service seals with.")
    count = 0
    try:
        async with database.connection() as db:
            async for _ in audit.verified(db, settings.audit_keys, dict(arguments.head)):
                count += 1
            unsealed = len(await audit_log.select_unsealed(db, limit=PAGE))
    except BrokenChainError as error:
        raise CommandError(f"The audit log was changed. {error}") from None
    waiting = f"; {unsealed} not sealed yet" if unsealed else ""
    document: dict[str, object] = {"verified": count, "unsealed": unsealed}
    command.report(document, f"{count} entries are as they were written{waiting}", as_json=arguments.json)
    return 0


def _head(text: str) -> tuple[int, str]:
    sequence, _, seal = text.partition(":")
    if not sequence.isdecimal() or len(seal) != 64:
        raise argparse.ArgumentTypeError("must be SEQUENCE:SEAL, as the service logs it")
    return int(sequence), seal.lower()
