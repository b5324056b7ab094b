"""Defects reported to Sentry, if SENTRY_DSN is set: the place and the kind of an error, never the text of users.

An event has no more than the log, see `tracebacks.py`: no variables, no headers, no bodies, and of an error's message
only the part about code or the network.
"""

import sys
from typing import Any

from structlog.typing import EventDict, Processor

from todo_service import __version__
from todo_service.config.secrets import plain_text
from todo_service.config.settings import Settings, SettingsError
from todo_service.config.settings_checks import DSN_ADVICE
from todo_service.observability import tracebacks
from todo_service.observability.request_record import RECORD

FLUSH_SECONDS = 2
KEPT = (
    "event_id", "timestamp", "platform", "level", "release", "environment", "server_name", "sdk", "tags", "exception",
)  # fmt: skip


def reporter(settings: Settings) -> Processor | None:
    """Return the step of the log that reports errors with a traceback; None without a SENTRY_DSN.

    Raises:
        SettingsError: The package `sentry-sdk` is not installed.
    """
    dsn = plain_text(settings.sentry_dsn)
    if dsn is None:
        return None
    try:
        import sentry_sdk
    except ImportError:
        raise SettingsError("SENTRY_DSN needs the package sentry-sdk: install todo-service[sentry].") from None
    try:
        sentry_sdk.init(**_options(dsn, settings))
    except ValueError:
        raise SettingsError(f"These settings are wrong:\n  SENTRY_DSN: {DSN_ADVICE}") from None

    def report(_: object, level: str, event: EventDict) -> EventDict:
        error = event.get("exc_info")
        if error is True:
            error = sys.exc_info()[1]
        elif isinstance(error, tuple):
            error = error[1]
        if level in {"error", "critical"} and isinstance(error, BaseException):
            with sentry_sdk.new_scope() as scope:
                name = "logger" if "logger" in event else "event"  # the words of a library may hold data
                scope.set_tag(name, str(event[name]))
                if (record := RECORD.get()) is not None:
                    scope.set_tag("request_id", record.request_id)
                sentry_sdk.capture_exception(error)
        return event

    return report


def without_data(event: Any, hint: dict[str, Any]) -> Any:
    """Return the event without anything that may be data of users."""
    loggable = {
        str(text): tracebacks.loggable(error)
        for error in tracebacks.chain(hint["exc_info"][1])
        for text in (error, getattr(error, "message", ""), getattr(error, "detail", ""))  # Sentry takes one of them
    }
    for value in event["exception"]["values"]:
        value["value"] = loggable.get(value.get("value"), "")
        value.pop("mechanism", None)
    return {name: event[name] for name in KEPT if name in event}


def _options(dsn: str, settings: Settings) -> dict[str, Any]:
    return {
        "dsn": dsn,
        "release": f"todo-service@{__version__}",
        "environment": settings.environment,
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "include_local_variables": False,
        "max_breadcrumbs": 0,
        "max_request_body_size": "never",
        "before_send": without_data,
    }


def flush() -> None:
    """Send the events that wait, before the process ends; for at most two seconds."""
    if (package := sys.modules.get("sentry_sdk")) is not None:
        package.flush(FLUSH_SECONDS)
