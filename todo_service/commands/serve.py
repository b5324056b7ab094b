"""`bin/serve`: read the settings, create the resources that development lacks, serve."""

import asyncio
import errno
import gc
import os
import sys
from contextlib import ExitStack
from functools import partial

from todo_service import __version__
from todo_service.app import build_app, build_metrics_app
from todo_service.commands import command
from todo_service.commands.development import prepared
from todo_service.config.database_options import database_options
from todo_service.config.script_names import named_here
from todo_service.config.settings import Settings, SettingsError
from todo_service.observability import logs, sentry
from todo_service.postgres import migrations
from todo_service.postgres.connector import CannotConnectError, single_connection
from todo_service.postgres.embedded import EmbeddedError
from todo_service.postgres.migrations import MigrationError
from todo_service.server import runner
from todo_service.server.connections import raise_file_limit
from todo_service.wire.mails import MailTemplates, TemplateError

BANNER = """
Todo Service {version} is ready.

  API    {base}/
  Docs   {docs}

Try it:

  curl {base}/api/v1/auth/register \\
    -H 'Content-Type: application/json' \\
    -d '{{"email": "ada@example.com", "password": "correct horse 9"}}'

Ctrl-C ends it.
"""

NO_ADDRESS = "Set SERVER_HOST to an address of this machine."
REMEDIES = {
    errno.EADDRINUSE: "End the program that has it, or set {}.",
    errno.EACCES: "This user may not have that port: set {}.",
}


def main() -> int:
    """Run the service; return 0 after a graceful shutdown, 1 if it could not start, 2 for wrong settings."""
    parser = command.Parser(
        prog="bin/serve",
        examples=("bin/serve", "SERVER_PORT=9000 bin/serve"),
        description="Serve the API. Without DATABASE_URL an embedded PostgreSQL is started, migrated and kept in "
        ".data. Settings come from the environment; docs/settings.md lists them.",
    )
    parser.add_argument("--workers", metavar="N", help="how many processes serve; stands in for WEB_CONCURRENCY")
    count = parser.parse_args().workers
    try:
        settings = Settings.load(**({} if count is None else {"web_concurrency": count}))
        MailTemplates(app_name=settings.app_name, folder=settings.mail_templates)
        logs.configure(settings)
    except (SettingsError, TemplateError) as error:
        return _fail(str(error), status=2)
    try:
        return _run(settings)
    except (EmbeddedError, MigrationError, CannotConnectError) as error:
        return _fail(str(error))
    finally:
        sentry.flush()


def _run(settings: Settings) -> int:
    raise_file_limit()
    with ExitStack() as resources:
        ports = [("SERVER_PORT", settings.server_port), ("METRICS_PORT", settings.metrics_port)]
        listeners = []
        for name, port in ports:
            if port is not None:
                try:
                    listeners.append(resources.enter_context(runner.bind(settings.server_host, port)))
                except OSError as error:
                    problem = f"Cannot listen on {settings.server_host} port {port}: {error.strerror}."
                    return _fail(f"{problem} {REMEDIES.get(error.errno or 0, NO_ADDRESS).format(name)}")
        embedded = settings.database_url is None
        if embedded:
            _say("Starting the embedded PostgreSQL …")
        complete = resources.enter_context(prepared(settings))
        if embedded:
            _say("Applying migrations …")
            asyncio.run(_migrate(complete))
        announce = partial(_announce, complete) if complete.environment == "development" else lambda: None
        if complete.web_concurrency > 1:
            os.environ["WEB_CONCURRENCY"] = str(complete.web_concurrency)  # gunicorn reads it when it is imported
            from todo_service.server import arbiter

            return arbiter.run(complete, listeners, on_ready=announce)
        app = build_app(complete)
        gc.freeze()  # the objects of the start stay: collecting them would stall all requests for 50 ms now and then
        others = [(build_metrics_app(app), listener) for listener in listeners[1:]]
        runner.run(runner.serve(app, listeners[0], on_ready=announce, others=others), debug=complete.debug)
    return 0


async def _migrate(settings: Settings) -> None:
    async with single_connection(database_options(settings)) as db:
        await migrations.up(db, migrations.find(), _say)


def _announce(settings: Settings) -> None:
    host = f"[{settings.server_host}]" if ":" in settings.server_host else settings.server_host
    base = f"http://{host}:{settings.server_port}"
    docs = f"{base}/docs" if settings.docs_enabled else "docs/api.md"
    _say(BANNER.format(version=__version__, base=base, docs=docs))


def _say(line: str) -> None:
    """Print a message for people, apart from the log lines on standard output."""
    print(named_here(line), file=sys.stderr, flush=True)


def _fail(reason: str, *, status: int = 1) -> int:
    _say(f"Todo Service cannot start. {reason}")
    return status
