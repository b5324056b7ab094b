"""Settings of the operator's commands: the part of the environment that each of them reads."""

from typing import ClassVar

from pydantic import SecretStr, ValidationInfo, field_validator, model_validator

from todo_service.config.settings import Settings

NEEDED_BY_COMMANDS = frozenset(
    {"environment", "app_name", "data_dir", "password_min_length", "bcrypt_rounds", "max_tasks_per_user"}
)


class CommandSettings(Settings):
    """The settings of most commands: the database, and the rules for tasks and passwords.

    The rest of the environment is ignored, valid or not; above all no signing secret is required.
    """

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS

    @classmethod
    def reads(cls, name: str) -> bool:
        return name in cls.needed or name.startswith("database_")

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_needed(cls, values: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if cls.reads(name)}

    @field_validator("database_url")
    @classmethod
    def _present_outside_development(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Require the database outside development, but no secrets."""
        if value is None and info.data.get("environment") in {"staging", "production"}:
            raise ValueError("must be set outside development")
        return value


class MigrationSettings(CommandSettings):
    """The settings of `bin/migrate`, which grants the right to read an auth server's table."""

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS | {"session_table"}


class AuditSettings(CommandSettings):
    """The settings of the commands that verify or shorten the audit log."""

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS | {"audit_key", "audit_retention_days"}


class PurgeSettings(CommandSettings):
    """The settings of the command that deletes expired rows."""

    needed: ClassVar[frozenset[str]] = AuditSettings.needed | {"history_days"}


class LinkSettings(CommandSettings):
    """The settings of a command that prints a link."""

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS | {"password_reset_url"}


class EncryptionSettings(CommandSettings):
    """The settings of a command that encrypts: the keys are required."""

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS | {"encryption_key"}

    @field_validator("encryption_key")
    @classmethod
    def _present(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            raise ValueError("must be set")
        return value
