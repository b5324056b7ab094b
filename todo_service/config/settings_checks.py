"""The checks of the settings: rules for single values, and between them."""

import re

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from todo_service.config import allowlists, database_tls, database_url, redis_url, secrets, smtp_url
from todo_service.config.http_url import is_http_url
from todo_service.config.secrets import SIGNING_SECRETS, UNIQUE_SECRETS, plain_text

MIN_BCRYPT_ROUNDS = 12  # in production
SENDER = "Todo Service <todo-service@localhost>"  # of development; with a mail server it must be another one
DSN_ADVICE = "must be a DSN such as https://key@sentry.example.com/42"
DSN = re.compile("https?://[!-.0-~]+@[!-.0-~]+(/[!-~]*)?/[0-9]+")
URL_EXAMPLES = {
    "jwks_url": "https://auth.example.com/api/auth/jwks",
    "gemini_base_url": "https://generativelanguage.googleapis.com",
    "change_password_url": "https://app.example.com/settings/password",
}


PROTECTED = {
    "gemini_base_url": "users' API keys are sent there",
    "jwks_url": "a third party on the network could put keys of its own in the place of these",
}


class SettingsChecks(BaseSettings):
    """The validators of `Settings`. Each raises `ValueError` with the end of a sentence about its variable."""

    @field_validator("cors_origins", check_fields=False)
    @classmethod
    def _are_origins(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        allowlists.check_origins(value, in_production=_in_production(info))
        return value

    @field_validator("row_level_security", check_fields=False)
    @classmethod
    def _has_sessions(cls, value: bool, info: ValidationInfo) -> bool:
        url = plain_text(info.data.get("database_url"))
        if value and url is not None and database_url.parse(url).pooled:
            raise ValueError("needs sessions, and DATABASE_URL leads through a transaction pooler")
        return value

    @field_validator("debug", "metrics_port", "database_pool_max", "bcrypt_rounds", check_fields=False)
    @classmethod
    def _fits_the_others(cls, value: int | None, info: ValidationInfo) -> int | None:
        match info.field_name:
            case "debug" if value and _in_production(info):
                raise ValueError("must be off in production")
            case "metrics_port" if value is not None and value == info.data.get("server_port"):
                raise ValueError("must not be the same as SERVER_PORT")
            case "database_pool_max" if value is not None and value < info.data.get("database_pool_min", 0):
                raise ValueError("must not be smaller than DATABASE_POOL_MIN")
            case "bcrypt_rounds" if value is not None and value < MIN_BCRYPT_ROUNDS and _in_production(info):
                raise ValueError(f"must be {MIN_BCRYPT_ROUNDS} or more in production")
        return value

    @field_validator("database_url", "secret_key", check_fields=False)
    @classmethod
    def _present_outside_development(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        derivable = info.field_name == "secret_key" and info.data.get("better_auth_secret", value) is not None
        if value is None and not derivable and info.data.get("environment") in {"staging", "production"}:
            raise ValueError("must be set outside development")
        return value

    @field_validator("database_url", "redis_url", check_fields=False)
    @classmethod
    def _usable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.field_name == "database_url":
            database_tls.context(database_url.parse(value.get_secret_value()))
        elif value is not None:
            redis_url.parse(value.get_secret_value())
        return value

    @field_validator(*UNIQUE_SECRETS, check_fields=False)
    @classmethod
    def _strong_and_unique(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A secret with two uses would serve the holders for one of them for the other as well."""
        if value is None:
            return None
        algorithm = info.data.get("algorithm", "HS256") if info.field_name in SIGNING_SECRETS else "HS256"
        secrets.check_strength(value.get_secret_value(), secrets.MIN_BYTES[algorithm])
        for other in UNIQUE_SECRETS:
            both_sign = {other, info.field_name} == set(SIGNING_SECRETS)
            if not both_sign and info.data.get(other) == value:
                raise ValueError(f"must not be the same as {other.upper()}")
        return value

    @field_validator("encryption_key", "audit_key", check_fields=False)
    @classmethod
    def _are_keys(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        if info.field_name == "encryption_key":
            keys = secrets.parse_fernet_keys(value.get_secret_value())
        else:
            keys = secrets.split_keys(value.get_secret_value())
            for key in keys:
                secrets.check_strength(key, secrets.MIN_BYTES["HS256"])
        for key in keys:
            for other in UNIQUE_SECRETS:
                if plain_text(info.data.get(other)) == key:
                    raise ValueError(f"must not be the same as {other.upper()}")
        return value

    @field_validator("service_auth_token", check_fields=False)
    @classmethod
    def _fits_in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
            raise ValueError("must be of visible ASCII characters, for it is sent in a header")
        return value

    @field_validator("smtp_url", "mail_from", check_fields=False)
    @classmethod
    def _can_send(cls, value: SecretStr | str | None, info: ValidationInfo) -> SecretStr | str | None:
        if isinstance(value, SecretStr):
            smtp_url.parse(value.get_secret_value(), allow_plain=info.data.get("environment") == "development")
        elif value is not None and (value != SENDER or info.data.get("smtp_url") is not None):
            return smtp_url.check_sender("" if value == SENDER else value)
        return value

    @field_validator("password_reset_url", "email_verify_url", check_fields=False)
    @classmethod
    def _is_link(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value and smtp_url.check_link(value, in_production=_in_production(info))

    @field_validator("require_verified_email", check_fields=False)
    @classmethod
    def _can_verify(cls, value: bool, info: ValidationInfo) -> bool:
        can_send = info.data.get("smtp_url") is not None and info.data.get("email_verify_url") is not None
        if value and not can_send and info.data.get("environment") != "development":
            raise ValueError("needs SMTP_URL and EMAIL_VERIFY_URL")
        return value

    @field_validator("sentry_dsn", check_fields=False)
    @classmethod
    def _is_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not DSN.fullmatch(value.get_secret_value()):
            raise ValueError(DSN_ADVICE)
        return value

    @field_validator("security_contact", check_fields=False)
    @classmethod
    def _is_contact(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("(mailto:[!-~]+@|https://|tel:)[!-~]+", value):
            raise ValueError("must be an address such as mailto:security@example.com or https://example.com/security")
        return value

    @field_validator("jwks_url", "gemini_base_url", "change_password_url", check_fields=False)
    @classmethod
    def _is_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        is_base = info.field_name == "gemini_base_url"
        if not is_http_url(value) or (is_base and set("?#") & set(value)):
            raise ValueError(f"must be an address such as {URL_EXAMPLES[info.field_name or '']}")
        if info.field_name in PROTECTED and _in_production(info) and not value.startswith("https://"):
            raise ValueError(f"must begin with https:// in production: {PROTECTED[info.field_name]}")
        return value.rstrip("/") if is_base else value


def _in_production(info: ValidationInfo) -> bool:
    return info.data.get("environment") == "production"
