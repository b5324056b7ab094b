"""Settings: the environment variables of the service, read once and never changed.

A new setting is one field here, one line in `.env.example` and one row in docs/settings.md (a test compares the
three). Nothing else in the package reads the environment.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from aiohttp import web
from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from todo_service.config import allowlists, scopes, secret_guesses, secret_values, secrets
from todo_service.config.secrets import plain_text
from todo_service.config.settings_checks import SENDER, SettingsChecks
from todo_service.config.trusted_proxies import Network, networks, path_prefix

PACKAGE = Path(__file__).resolve().parent.parent
IN_CHECKOUT = (PACKAGE.parent / "bin/serve").is_file()  # else it is an installed package
ROOT = PACKAGE.parent if IN_CHECKOUT else Path.cwd()  # the folder of `.env` and `.data`
DRAIN_SECONDS_IN_PRODUCTION = 5

Seconds = Annotated[float, Field(gt=0, le=3600)]
PerMinute = Annotated[int, Field(ge=1, le=100_000)]
Networks = Annotated[
    tuple[Network, ...], NoDecode, BeforeValidator(lambda text: networks(text) if isinstance(text, str) else text)
]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(allowlists.split)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text),
]


def _not_of_kubernetes(value: object) -> object:
    if isinstance(value, str) and value.startswith("tcp://"):
        raise ValueError(
            "is an address that Kubernetes sets for a service of this name: set enableServiceLinks to false for the "
            "pod, or set this variable yourself"
        )
    return value


class SettingsError(Exception):
    """The environment holds values that the service cannot run with; the text names every one of them."""


class Settings(SettingsChecks):
    """The settings of the service: one field for each environment variable of the same name in capitals.

    Raises:
        pydantic.ValidationError: A value is wrong; `load` turns this into one readable `SettingsError`.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, validate_default=True
    )

    environment: Literal["development", "staging", "production"] = "development"
    app_name: str = Field("Todo Service", min_length=1, max_length=100)
    debug: bool = False
    log_level: LogLevel = "INFO"
    log_format: Literal["json", "ecs"] = "json"
    sentry_dsn: SecretStr | None = None

    server_host: str = "127.0.0.1"
    server_port: Annotated[int, BeforeValidator(_not_of_kubernetes)] = Field(
        8000, ge=1, le=65535, validation_alias=AliasChoices("SERVER_PORT", "PORT")
    )
    drain_seconds: float | None = Field(None, ge=0, le=300)
    cors_origins: Names = ()
    cors_allow_headers: Annotated[Names, AfterValidator(allowlists.check_header_names)] = ("*",)
    allowed_hosts: Annotated[Names, AfterValidator(allowlists.check_hosts)] = ()
    root_path: Annotated[str, AfterValidator(path_prefix)] = ""
    web_concurrency: int = Field(1, ge=1, le=64)
    max_requests_in_flight: int = Field(128, ge=1, le=10_000)
    max_streams: int = Field(5000, ge=1, le=100_000)
    history_days: int = Field(30, ge=0, le=3650)
    metrics_port: Annotated[int | None, BeforeValidator(_not_of_kubernetes)] = Field(None, ge=1, le=65535)
    docs_enabled: bool = True
    security_contact: str | None = None
    change_password_url: str | None = None

    data_dir: Path = ROOT / ".data"
    database_url: SecretStr | None = None
    database_pool_min: int = Field(1, ge=0, le=1000)
    database_pool_max: int = Field(10, ge=1, le=1000)
    database_pool_recycle: Seconds = 60
    database_acquire_timeout: Seconds = 1
    database_statement_timeout: Seconds = 2
    database_echo: bool = False
    row_level_security: bool = False

    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    better_auth_secret: SecretStr | None = None
    secret_key: SecretStr | None = None
    secret_key_previous: SecretStr | None = None
    refresh_token_expire_days: int = Field(7, ge=1, le=365)
    refresh_reuse_seconds: float = Field(15, ge=0, le=300)
    access_token_expire_minutes: int = Field(30, ge=1, le=24 * 60)
    allow_reserved_email_domains: bool = False
    password_min_length: int = Field(8, ge=8, le=128)
    bcrypt_rounds: int = Field(12, ge=4, le=16)

    smtp_url: SecretStr | None = None
    mail_from: str = SENDER
    mail_templates: Path | None = None
    password_reset_url: str | None = None
    email_verify_url: str | None = None
    require_verified_email: bool = False

    jwks_url: str | None = None
    jwt_issuer: str | None = Field(None, max_length=1000)
    jwt_audience: str | None = Field(None, max_length=1000)
    session_table: str = Field(
        "user_sessions", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$"
    )
    session_token_storage: Literal["hashed", "plain"] = "hashed"  # noqa: S105
    session_hash_secret: SecretStr | None = None
    service_auth_token: SecretStr | None = None
    service_auth_scopes: Annotated[Names, AfterValidator(scopes.check)] = (scopes.ALL,)

    audit_key: SecretStr | None = None
    audit_retention_days: int = Field(365, ge=0, le=36_500)
    encryption_key: SecretStr | None = None
    gemini_base_url: str = "https://generativelanguage.googleapis.com"

    max_import_bytes: int = Field(16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    max_tasks_per_user: int = Field(10_000, ge=1, le=1_000_000)
    rate_limit_enabled: bool = True
    rate_limit_read: PerMinute = 100
    rate_limit_write: PerMinute = 30
    rate_limit_auth: PerMinute = 20
    redis_url: SecretStr | None = None
    trusted_proxies: Networks = ()

    _cleaned: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment, and `.env` in development. `overrides` take precedence.

        Raises:
            SettingsError: One line for each wrong variable; no value is repeated in it.
        """
        in_development = (os.environ.get("ENVIRONMENT") or "development") == "development"
        file = ROOT / ".env" if in_development else None
        found = secret_values.read(_from_dotenv(file) | os.environ, [name for name in CLEANED if cls.reads(name)])
        wrong = dict(found.wrong)
        try:
            settings = cls(_env_file=file, **(found.values | overrides))  # type: ignore[arg-type]
        except ValidationError as error:
            wrong |= {_variable(detail["loc"]): _reason(detail["msg"]) for detail in error.errors()}
        else:
            wrong |= {name.upper(): secrets.EASY_TO_GUESS for name in settings._guessable()}
        if wrong:
            lines = [f"  {name}: {reason}" for name, reason in wrong.items()]
            raise SettingsError("\n".join(["These settings are wrong:", *lines]))
        settings._cleaned = tuple(found.cleaned)
        return settings

    @classmethod
    def reads(cls, name: str) -> bool:
        """Return whether the setting counts here: commands read some only."""
        return True

    def _guessable(self) -> list[str]:
        """Return the secrets that are too easy to guess for production."""
        texts = {name: plain_text(getattr(self, name)) for name in secrets.UNIQUE_SECRETS if self.in_production}
        return secret_guesses.guessable({name: text for name, text in texts.items() if text is not None})

    @property
    def cleaned(self) -> tuple[str, ...]:
        """The variables that had white space or quotes around their values."""
        return self._cleaned

    @property
    def in_production(self) -> bool:
        return self.environment == "production"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that requests may name; empty allows all of them, as in development."""
        return () if self.environment == "development" else self.allowed_hosts

    @property
    def drain(self) -> float:
        """Seconds after SIGTERM in which new connections are still accepted, for the load balancer to notice."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return DRAIN_SECONDS_IN_PRODUCTION if self.in_production else 0

    @property
    def signing_keys(self) -> list[str]:
        """The keys of access tokens, the signing one first; one of `secret_key`, `better_auth_secret` must be set."""
        present, shared = plain_text(self.secret_key), plain_text(self.better_auth_secret)
        if present is None:
            assert shared is not None
            present = secrets.derive_signing_key(shared, self.algorithm)
        return [present, *filter(None, [plain_text(self.secret_key_previous)])]

    @property
    def encryption_keys(self) -> list[str]:
        """The Fernet keys for users' API keys, the encrypting one first; empty if none is set."""
        text = plain_text(self.encryption_key)
        return secrets.parse_fernet_keys(text) if text is not None else []

    @property
    def audit_keys(self) -> list[str]:
        """The keys of the audit log's seals, the sealing one first; empty if none is set."""
        return secrets.split_keys(plain_text(self.audit_key) or "")


SETTINGS = web.AppKey("settings", Settings)
CLEANED = (
    *(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None),
    "jwt_issuer",
    "jwt_audience",
)  # settings that may come from a file; white space and quotes around them are taken off


def _from_dotenv(file: Path | None) -> dict[str, str]:
    """Return the variables in a file, none without a file. Raises `SettingsError` if it is not UTF-8."""
    if file is None:
        return {}
    try:
        found = dotenv_values(file, encoding="utf-8", interpolate=False)
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8: save it in that encoding.") from None
    return {name.upper(): value for name, value in found.items() if value is not None}


def _variable(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]).upper() if loc else "settings"


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").removesuffix(".")
