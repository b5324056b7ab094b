"""Defects reported to Sentry, if SENTRY_DSN is set: the place and the kind of an error, never the text of users.

An event has no more than the log, see `tracebacks.py`: no variables, no headers, no bodies, and of an error's message
only the part about code or the network.
"""

from typing import Any

from structlog.typing import EventDict, Processor

from todo_service import __version__
from todo_service.config.secrets import plain_text
from todo_service.config.settings import Settings, SettingsError
from todo_service.observability import tracebacks
from todo_service.observability.request_record import RECORD

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
    sentry_sdk.init(
        dsn=dsn,
        release=f"todo-service@{__version__}",
        environment=settings.environment,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        send_default_pii=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        before_send=without_data,
    )

    def report(_: object, level: str, event: EventDict) -> EventDict:
        error = event.get("exc_info")
        if level in {"error", "critical"} and isinstance(error, BaseException):
            with sentry_sdk.new_scope() as scope:
                scope.set_tag("event", str(event["event"]))
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
