"""The options of the database connections, taken from the settings."""

from dataclasses import dataclass

from todo_service.config import database_url
from todo_service.config.database_url import Dsn
from todo_service.config.settings import Settings

EVERY_OWNER = "todo.every_owner"  # a session setting that the policies of row-level security read
LONGEST_IDLE_TRANSACTION_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Where PostgreSQL is, and the size and the deadlines of the pool; all times in seconds.

    Attributes:
        recycle: How long an idle connection is kept.
        echo: Log every statement by its name, without values.
        row_level_security: Name to each connection the users of the request, the only ones with rows for it.
        every_owner: Show each connection the rows of all users, for commands.
        must_encrypt: Warn if the connection may be unencrypted.
    """

    dsn: Dsn
    application_name: str
    pool_min: int
    pool_max: int
    recycle: float
    acquire_timeout: float
    statement_timeout: float
    echo: bool
    must_encrypt: bool
    row_level_security: bool = False
    every_owner: bool = False

    @property
    def server_settings(self) -> dict[str, str]:
        """Session settings, times in milliseconds.

        The server's deadlines are the shorter ones, so a slow statement does not cost its connection.
        """
        statement = self.statement_timeout * 1000
        return {
            "application_name": self.application_name,
            "timezone": "UTC",
            "default_transaction_isolation": "read committed",
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
            "statement_timeout": str(int(statement * 0.9)),
            "lock_timeout": str(int(statement * 0.75)),
            "idle_in_transaction_session_timeout": str(int(max(statement, LONGEST_IDLE_TRANSACTION_SECONDS * 1000))),
        } | ({EVERY_OWNER: "on"} if self.every_owner else {})


def database_options(settings: Settings) -> DatabaseOptions:
    """Return the options that the settings describe. Raises `ValueError`, with one sentence, without a usable URL."""
    if settings.database_url is None:
        raise ValueError("DATABASE_URL is not set")
    return DatabaseOptions(
        dsn=database_url.parse(settings.database_url.get_secret_value()),
        application_name=settings.app_name,
        pool_min=settings.database_pool_min,
        pool_max=settings.database_pool_max,
        recycle=settings.database_pool_recycle,
        acquire_timeout=settings.database_acquire_timeout,
        statement_timeout=settings.database_statement_timeout,
        echo=settings.database_echo,
        must_encrypt=settings.in_production,
        row_level_security=settings.row_level_security,
    )
