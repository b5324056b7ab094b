"""Settings: everything the environment may say, read once and never changed.

A new setting is one field here, one line in `.env.example` and one row in the README's table (a test holds the
three together). Nothing else in the package reads the environment.
"""

import os
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from todo_service.config import allowlists, database_tls, database_url, secrets
from todo_service.config.trusted_proxies import Network, networks
from todo_service.limits import rate_redis

ROOT = Path(__file__).resolve().parent.parent.parent
SIGNING_SECRETS = ("secret_key", "secret_key_previous")
SECRETS = ("better_auth_secret", *SIGNING_SECRETS, "session_hash_secret", "service_auth_token")
BCRYPT_ROUNDS_IN_PRODUCTION = 12
DRAIN_SECONDS_IN_PRODUCTION = 5
NEEDED_BY_COMMANDS = frozenset(
    {"environment", "app_name", "data_dir", "password_min_length", "bcrypt_rounds", "max_tasks_per_user"}
)

Seconds = Annotated[float, Field(gt=0, le=3600)]
PerMinute = Annotated[int, Field(ge=1, le=100_000)]
Networks = Annotated[
    tuple[Network, ...], NoDecode, BeforeValidator(lambda text: networks(text) if isinstance(text, str) else text)
]
Names = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """The environment holds values the service cannot run with; the text names every one of them."""


class Settings(BaseSettings):
    """The service's settings, one field for each environment variable of the same name in capitals.

    Raises `pydantic.ValidationError` when made from wrong values; `load` turns that into one readable `SettingsError`.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, validate_default=True
    )

    environment: Literal["development", "staging", "production"] = "development"
    app_name: str = Field("Todo Service", min_length=1, max_length=100)
    debug: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    server_host: str = "127.0.0.1"
    server_port: int = Field(8000, ge=1, le=65535, validation_alias=AliasChoices("SERVER_PORT", "PORT"))
    drain_seconds: float | None = Field(None, ge=0, le=300)
    cors_origins: Names = ()
    allowed_hosts: Names = ()
    web_concurrency: int = Field(1, ge=1, le=64)
    max_requests_in_flight: int = Field(128, ge=1, le=10_000)
    metrics_port: int | None = Field(None, ge=1, le=65535)
    docs_enabled: bool = True

    data_dir: Path = ROOT / ".data"
    database_url: SecretStr | None = None
    database_pool_min: int = Field(1, ge=0, le=1000)
    database_pool_max: int = Field(10, ge=1, le=1000)
    database_pool_recycle: Seconds = 60
    database_acquire_timeout: Seconds = 1
    database_statement_timeout: Seconds = 2
    database_echo: bool = False

    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    better_auth_secret: SecretStr | None = None
    secret_key: SecretStr | None = None
    secret_key_previous: SecretStr | None = None
    refresh_token_expire_days: int = Field(7, ge=1, le=365)
    refresh_reuse_seconds: float = Field(15, ge=0, le=300)
    access_token_expire_minutes: int = Field(30, ge=1, le=24 * 60)
    password_min_length: int = Field(8, ge=8, le=128)
    bcrypt_rounds: int = Field(12, ge=4, le=16)

    jwks_url: str | None = None
    jwt_issuer: str | None = Field(None, max_length=1000)
    jwt_audience: str | None = Field(None, max_length=1000)
    session_table: str = Field(
        "user_sessions", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$"
    )
    session_token_storage: Literal["hashed", "plain"] = "hashed"  # noqa: S105
    session_hash_secret: SecretStr | None = None
    service_auth_token: SecretStr | None = None

    encryption_key: SecretStr | None = None
    gemini_base_url: str = "https://generativelanguage.googleapis.com"

    max_tasks_per_user: int = Field(10_000, ge=1, le=1_000_000)
    rate_limit_enabled: bool = True
    rate_limit_read: PerMinute = 100
    rate_limit_write: PerMinute = 30
    rate_limit_auth: PerMinute = 20
    redis_url: SecretStr | None = None
    trusted_proxies: Networks = ()

    @classmethod
    def load(cls, **given: object) -> Self:
        """Read the environment, and `.env` too unless the environment names another than development; what is `given`
        comes first.

        Raises `SettingsError` with one line for each wrong variable; no value is ever repeated in it.
        """
        in_development = (os.environ.get("ENVIRONMENT") or "development") == "development"
        try:
            return cls(_env_file=ROOT / ".env" if in_development else None, **given)  # type: ignore[arg-type]
        except ValidationError as error:
            lines = [f"  {_variable(detail['loc'])}: {_reason(detail['msg'])}" for detail in error.errors()]
            raise SettingsError("\n".join(["These settings are wrong:", *lines])) from None

    @property
    def in_production(self) -> bool:
        return self.environment == "production"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts to answer for, none for all of them: development answers for all."""
        return () if self.environment == "development" else self.allowed_hosts

    @property
    def drain(self) -> float:
        """Seconds for which new connections are still taken after SIGTERM, so that a load balancer can notice."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return DRAIN_SECONDS_IN_PRODUCTION if self.in_production else 0

    @property
    def signing_keys(self) -> list[str]:
        """The secrets of access tokens, the one that signs first. Without a `secret_key` that one is derived from
        `better_auth_secret`; one of the two must be there.
        """
        present, shared = self.secret_key, self.better_auth_secret
        if present is None:
            assert shared is not None
            present = SecretStr(secrets.derived(shared.get_secret_value(), self.algorithm))
        return [key.get_secret_value() for key in (present, self.secret_key_previous) if key is not None]

    @property
    def encryption_keys(self) -> list[str]:
        """The Fernet keys of users' API keys, the one that encrypts first; none if these are not kept."""
        text = secret(self.encryption_key)
        return secrets.fernet_keys(text) if text is not None else []

    @field_validator("log_level", mode="before")
    @classmethod
    def _capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return allowlists.listed(value)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        allowlists.refuse_wrong_origins(value, in_production=_in_production(info))
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        lower = tuple(pattern.lower() for pattern in value)
        allowlists.refuse_wrong_hosts(lower)
        return lower

    @field_validator("debug")
    @classmethod
    def _not_in_production(cls, value: bool, info: ValidationInfo) -> bool:
        if value and _in_production(info):
            raise ValueError("must be off in production")
        return value

    @field_validator("metrics_port")
    @classmethod
    def _another_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value == info.data.get("server_port"):
            raise ValueError("must not be the same as SERVER_PORT")
        return value

    @field_validator("database_pool_max")
    @classmethod
    def _not_below_minimum(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("database_pool_min", 0):
            raise ValueError("must not be smaller than DATABASE_POOL_MIN")
        return value

    @field_validator("bcrypt_rounds")
    @classmethod
    def _slow_in_production(cls, value: int, info: ValidationInfo) -> int:
        if value < BCRYPT_ROUNDS_IN_PRODUCTION and _in_production(info):
            raise ValueError(f"must be {BCRYPT_ROUNDS_IN_PRODUCTION} or more in production")
        return value

    @field_validator("database_url", "secret_key")
    @classmethod
    def _present_outside_development(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        derivable = info.field_name == "secret_key" and info.data.get("better_auth_secret", value) is not None
        if value is None and not derivable and info.data.get("environment") in {"staging", "production"}:
            raise ValueError("must be set outside development")
        return value

    @field_validator("database_url")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            database_tls.context(database_url.parse(value.get_secret_value()))
        return value

    @field_validator("redis_url")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            rate_redis.connection_to(value.get_secret_value())
        return value

    @field_validator(*SECRETS)
    @classmethod
    def _strong(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            algorithm = info.data.get("algorithm", "HS256") if info.field_name in SIGNING_SECRETS else "HS256"
            secrets.refuse_weak(value.get_secret_value(), secrets.MIN_BYTES[algorithm])
        return value

    @field_validator(*SECRETS)
    @classmethod
    def _of_its_own(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A secret with two uses is known to those who need it for one of them, and serves them for the other."""
        for other in SECRETS:
            both_sign = {other, info.field_name} == set(SIGNING_SECRETS)
            if value is not None and not both_sign and info.data.get(other) == value:
                raise ValueError(f"must not be the same as {other.upper()}")
        return value

    @field_validator("encryption_key")
    @classmethod
    def _are_fernet_keys(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        for key in secrets.fernet_keys(value.get_secret_value()) if value is not None else ():
            for other in SECRETS:
                if secret(info.data.get(other)) == key:
                    raise ValueError(f"must not be the same as {other.upper()}")
        return value

    @field_validator("gemini_base_url")
    @classmethod
    def _a_base(cls, value: str, info: ValidationInfo) -> str:
        if not _is_http_url(value) or set("?#") & set(value):
            raise ValueError("must be an address such as https://generativelanguage.googleapis.com")
        if _in_production(info) and not value.startswith("https://"):
            raise ValueError("must begin with https:// in production: users' API keys are sent there")
        return value.rstrip("/")

    @field_validator("service_auth_token")
    @classmethod
    def _fits_in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
            raise ValueError("must be of visible ASCII characters, for it is sent in a header")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not _is_http_url(value):
            raise ValueError("must be an address such as https://auth.example.com/api/auth/jwks")
        return value


class CommandSettings(Settings):
    """What a command of an operator needs: the database, and the rules for tasks and passwords. Everything else in the
    environment is passed over, right or wrong; above all no signing secret has to be there.
    """

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_needed(cls, values: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if name in cls.needed or name.startswith("database_")}

    @field_validator("database_url")
    @classmethod
    def _present_outside_development(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """As for the service, but for the secrets."""
        if value is None and info.data.get("environment") in {"staging", "production"}:
            raise ValueError("must be set outside development")
        return value


class EncryptionSettings(CommandSettings):
    """The same for a command that encrypts: the keys have to be there."""

    needed: ClassVar[frozenset[str]] = NEEDED_BY_COMMANDS | {"encryption_key"}

    @field_validator("encryption_key")
    @classmethod
    def _present(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            raise ValueError("must be set")
        return value


SETTINGS = web.AppKey("settings", Settings)


def secret(value: SecretStr | None) -> str | None:
    """The text of a secret that may be absent."""
    return value.get_secret_value() if value is not None else None


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        sound = parts.port != 0 and parts.username is None and re.fullmatch("[!-~]+", text)
    except ValueError:
        return False
    return bool(sound and parts.hostname) and parts.scheme in {"http", "https"}


def _in_production(info: ValidationInfo) -> bool:
    return info.data.get("environment") == "production"


def _variable(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]).upper() if loc else "settings"


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").removesuffix(".")
