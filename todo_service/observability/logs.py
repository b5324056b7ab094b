"""Logs: one JSON object a line on standard output, readable colours on a terminal; never a secret, never an email."""

import asyncio
import io
import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from todo_service.config.secrets import plain_text
from todo_service.config.settings import Settings
from todo_service.observability import lines, sentry, tracebacks, tracing
from todo_service.observability.ecs import as_ecs
from todo_service.observability.lines import LineWriter, as_json
from todo_service.observability.request_record import RECORD
from todo_service.observability.user_ids import EmailHider


def add_request_id(_: object, __: str, event: EventDict) -> EventDict:
    """Add the id of the current request to a line."""
    if (record := RECORD.get()) is not None:
        event["request_id"] = record.request_id
    return event


def add_trace(_: object, __: str, event: EventDict) -> EventDict:
    """Add the ids of the current trace to a line."""
    if tracing.IS_INSTALLED:
        event.update(tracing.ids())
    return event


SHARED: tuple[Processor, ...] = (
    add_request_id,
    add_trace,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)

log = structlog.get_logger()


def configure(settings: Settings) -> None:
    """Send all log lines of this process, of libraries too, through one format, from `settings.log_level` up.

    Raises:
        SettingsError: SENTRY_DSN is set, and its package is not installed.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    on_terminal = sys.stdout.isatty() and settings.log_format == "json"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a line that cannot be encoded must not fail its request
    render = lines.OUTPUT.render = as_ecs if settings.log_format == "ecs" else as_json
    secret = plain_text(settings.secret_key or settings.better_auth_secret) or ""
    hide_emails = lines.OUTPUT.hide_emails = EmailHider(secret)
    reporters = [*filter(None, [sentry.reporter(settings)])]
    exceptions = structlog.processors.ExceptionRenderer(tracebacks.format_traceback)  # type: ignore[arg-type]
    lines.OUTPUT.is_verbose = level <= logging.INFO
    lines.OUTPUT.writer = None if on_terminal else LineWriter(sys.stdout.fileno(), _on_dropped)
    # Our own lines bypass the standard library: 12 µs for a line instead of 64.
    structlog.configure(
        processors=[*SHARED, hide_emails, *reporters, exceptions, Console() if on_terminal else render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout) if on_terminal else lines.LineLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout) if on_terminal else lines.LineHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*SHARED, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *reporters,
                exceptions,
                Console() if on_terminal else lambda *line: render(*line).decode(),
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _on_dropped(count: int) -> None:
    RECORD.set(None)  # no request's line
    log.warning("log_lines_dropped", lines=count)


def silence() -> None:
    """Turn the log off: a command prints its own messages."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable()


def log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that no task waits for; asyncio's own message would hold the words of the error.

    A connection that is lost when no task waits for it any more is no error, such as that of a cancel request.
    """
    error = context.get("exception")
    if not isinstance(error, ConnectionError):
        log.error("unhandled", message=context.get("message"), exc_info=error)


class Console:
    """Renders with readable colours, and control characters as numbers. By default it would print all local variables
    with a traceback.
    """

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)

    def __call__(self, logger: object, name: str, event: EventDict) -> str:
        for field, value in event.items():
            if field != "exception" and isinstance(value, str) and not value.isprintable():
                event[field] = ascii(value)
        return str(self._render(logger, name, event))
