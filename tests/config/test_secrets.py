"""Secrets: strong, each for one purpose, from the environment or from files, and never repeated in a message."""

import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.conftest import GOOD, wrong
from tests.conftest import SECRET_KEY
from todo_service.commands.command_settings import CommandSettings, EncryptionSettings
from todo_service.config.secret_guesses import guessable
from todo_service.config.secrets import derive_signing_key
from todo_service.config.settings import ROOT, Settings, SettingsError

OTHER_SECRET = "for-tests-only-too-9876543210-zyxwvut"
DERIVED = "72546084e445fef0e26c6a978dca2bb38850862c80f0d55bd54e52bad2fd7157"


@pytest.mark.parametrize(
    "secret", ["", "secret", "x" * 31, "é" * 15, "a" * 64, "abcabc" * 20, "your-super-secret-key-here-1234567890",
               "please-change-me-please-change-me-1", "0123456789" * 3, "replace this with something random!!"],
)  # fmt: skip
def test_weak_secrets_are_refused(environment: pytest.MonkeyPatch, secret: str) -> None:
    assert set(wrong(environment, **GOOD | {"ENVIRONMENT": "production", "SECRET_KEY": secret})) == {"SECRET_KEY"}


@pytest.mark.parametrize("variable", ["BETTER_AUTH_SECRET", "SESSION_HASH_SECRET", "SERVICE_AUTH_TOKEN"])
def test_weak_secrets_shared_with_others_are_refused(environment: pytest.MonkeyPatch, variable: str) -> None:
    for secret in ("x" * 31, "a" * 64, "please-change-me-please-change-me-1"):
        assert set(wrong(environment, **GOOD | {variable: secret})) == {variable}


def test_only_our_own_keys_grow_with_the_algorithm(environment: pytest.MonkeyPatch) -> None:
    others = {"BETTER_AUTH_SECRET": OTHER_SECRET, "SERVICE_AUTH_TOKEN": OTHER_SECRET[::-1]}
    assert set(wrong(environment, **GOOD, **others, ALGORITHM="HS512")) == {"SECRET_KEY"}


def test_no_secret_serves_two_purposes(environment: pytest.MonkeyPatch) -> None:
    variables = ["BETTER_AUTH_SECRET", "SESSION_HASH_SECRET", "SERVICE_AUTH_TOKEN"]
    reasons = wrong(environment, **GOOD, **dict.fromkeys(variables, SECRET_KEY))
    assert reasons["SECRET_KEY"] == "must not be the same as BETTER_AUTH_SECRET"
    assert set(reasons) == {"SECRET_KEY", "SESSION_HASH_SECRET", "SERVICE_AUTH_TOKEN"}


def test_either_secret_will_do_and_the_key_is_never_the_shared_one(environment: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "production", "BETTER_AUTH_SECRET": OTHER_SECRET}.items():
        environment.setenv(name, value)
    environment.setenv("DATABASE_URL", GOOD["DATABASE_URL"])
    keys = {}
    for algorithm, digits in (("HS256", 64), ("HS384", 96), ("HS512", 128)):
        environment.setenv("ALGORITHM", algorithm)
        (keys[algorithm],) = Settings.load().signing_keys
        assert len(keys[algorithm]) == digits
        assert OTHER_SECRET not in keys[algorithm]
    environment.setenv("ALGORITHM", "HS256")
    environment.setenv("SECRET_KEY_PREVIOUS", SECRET_KEY)
    assert Settings.load().signing_keys == [keys["HS256"], SECRET_KEY]
    environment.setenv("SECRET_KEY", SECRET_KEY)
    assert Settings.load().signing_keys == [SECRET_KEY, SECRET_KEY]


def test_the_derived_key_is_the_same_in_every_release() -> None:
    assert derive_signing_key(OTHER_SECRET, "HS256") == DERIVED


FERNET_KEYS = ("b4k6YlVhTqYQxWq8yZ0b1QmVbq0cKk1mX3y5jv7hR9A=", "/++4c0t1S2aYb7n6mX9e1kQvJ3uTz5wHrPfLd8oEgiM=")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("short", "entry 1"), (FERNET_KEYS[0][:-1], "entry 1"), (f"{FERNET_KEYS[0]}, x", "entry 2"),
        (" , ,", "must be"),
        (FERNET_KEYS[0] + FERNET_KEYS[1], "entry 1"), (";".join(FERNET_KEYS), "entry 1"), ("A" * 43 + "=", "entry 1"),
        ("é" * 43 + "=", "entry 1"), (FERNET_KEYS[0][:20] + "\n" + FERNET_KEYS[0][20:], "entry 1"),
    ],
)  # fmt: skip
def test_encryption_keys_that_are_refused(environment: pytest.MonkeyPatch, text: str, place: str) -> None:
    reasons = wrong(environment, ENCRYPTION_KEY=text)
    assert set(reasons) == {"ENCRYPTION_KEY"}
    assert place in reasons["ENCRYPTION_KEY"]
    assert "openssl rand -base64 32" in reasons["ENCRYPTION_KEY"]
    for key in FERNET_KEYS:
        assert key not in str(reasons)


def test_encryption_keys(environment: pytest.MonkeyPatch) -> None:
    assert Settings.load().encryption_keys == []
    environment.setenv("ENCRYPTION_KEY", f" {FERNET_KEYS[0]} ,{FERNET_KEYS[1]},")
    settings = Settings.load()
    assert settings.encryption_keys == [*FERNET_KEYS]
    assert not any(key in repr(settings) for key in FERNET_KEYS)


def test_an_encryption_key_serves_nothing_else(environment: pytest.MonkeyPatch) -> None:
    reasons = wrong(environment, SERVICE_AUTH_TOKEN=FERNET_KEYS[1], ENCRYPTION_KEY=",".join(FERNET_KEYS))
    assert reasons == {"ENCRYPTION_KEY": "must not be the same as SERVICE_AUTH_TOKEN"}


def test_a_command_that_encrypts_needs_the_keys_and_others_do_not_look_at_them(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", GOOD["DATABASE_URL"])
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY: must be set"):
        EncryptionSettings.load()
    environment.setenv("ENCRYPTION_KEY", "short")
    assert CommandSettings.load().encryption_keys == []
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY: entry 1"):
        EncryptionSettings.load()
    environment.setenv("ENCRYPTION_KEY", FERNET_KEYS[0])
    assert EncryptionSettings.load().encryption_keys == [FERNET_KEYS[0]]


def test_a_service_token_fits_in_a_header(environment: pytest.MonkeyPatch) -> None:
    for token in ("a token with spaces 0123456789-abcdefg", "ein-Schlüssel-0123456789-abcdefghijklm"):
        assert set(wrong(environment, SERVICE_AUTH_TOKEN=token)) == {"SERVICE_AUTH_TOKEN"}


def test_stronger_algorithms_need_longer_secrets(environment: pytest.MonkeyPatch) -> None:
    assert "64 bytes" in wrong(environment, SECRET_KEY=SECRET_KEY, ALGORITHM="HS512")["SECRET_KEY"]


def test_secrets_come_from_files_too(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("secret_key", f"{SECRET_KEY}\n"), ("database_url", GOOD["DATABASE_URL"] + "\r\n")):
        (tmp_path / name).write_text(text)
        environment.setenv(f"{name.upper()}_FILE", str(tmp_path / name))
    settings = Settings.load()
    assert settings.secret_key is not None
    assert settings.database_url is not None
    assert (settings.secret_key.get_secret_value(), settings.cleaned) == (SECRET_KEY, ())
    assert settings.database_url.get_secret_value() == GOOD["DATABASE_URL"]
    environment.setenv("SECRET_KEY", SECRET_KEY)
    environment.setenv("REDIS_URL_FILE", str(tmp_path / "nothing here"))
    (tmp_path / "latin").write_bytes(b"\xe9" * 40)
    environment.setenv("SERVICE_AUTH_TOKEN_FILE", str(tmp_path / "latin"))
    (tmp_path / "empty").write_text("\n")
    environment.setenv("SESSION_HASH_SECRET_FILE", str(tmp_path / "empty"))
    reasons = wrong(environment)
    assert set(reasons) == {"SECRET_KEY_FILE", "REDIS_URL_FILE", "SERVICE_AUTH_TOKEN_FILE", "SESSION_HASH_SECRET_FILE"}
    assert "beside SECRET_KEY" in reasons["SECRET_KEY_FILE"]
    assert "No such file" in reasons["REDIS_URL_FILE"]
    assert "not UTF-8" in reasons["SERVICE_AUTH_TOKEN_FILE"]
    assert CommandSettings.load().database_url is not None, "a command that needs no secret does not read them"


@pytest.mark.parametrize("around", ["{}\n", ' "{}" ', "'{}'", "\t{}\r\n", "' {} '"])
def test_what_is_around_a_secret_is_taken_off_with_a_note(environment: pytest.MonkeyPatch, around: str) -> None:
    environment.setenv("SECRET_KEY", around.format(SECRET_KEY))
    environment.setenv("JWT_ISSUER", around.format("https://auth.example.com"))
    settings = Settings.load()
    assert settings.signing_keys == [SECRET_KEY]
    assert settings.jwt_issuer == "https://auth.example.com"
    assert set(settings.cleaned) == {"SECRET_KEY", "JWT_ISSUER"}


@pytest.mark.parametrize(
    "secret",
    [
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "dev-secret-0123456789-abcdefghijklmnop",
        "0123456789abcdef" * 4, "Ab3$xY7!kP" * 5, "this-is-my-super-secret-jwt-key-2024",
    ],
)  # fmt: skip
def test_keys_that_everybody_knows_are_refused(environment: pytest.MonkeyPatch, secret: str) -> None:
    assert "easy to guess" in wrong(environment, SECRET_KEY=secret)["SECRET_KEY"]


@pytest.mark.parametrize(
    "secret",
    [
        "qwertyuiopasdfghjklzxcvbnm1234567890", "test-secret-0123456789abcdef0123456789abcdef",
        "password1password2password3password4", "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKL",
    ],
)  # fmt: skip
def test_production_counts_the_guesses_a_secret_takes(environment: pytest.MonkeyPatch, secret: str) -> None:
    for name in ("SECRET_KEY", "SERVICE_AUTH_TOKEN", "SESSION_HASH_SECRET"):
        values = GOOD | {name: secret}
        for variable, value in values.items():
            environment.setenv(variable, value)
        assert Settings.load().environment == "development"
        assert "easy to guess" in wrong(environment, **values, ENVIRONMENT="production")[name]
        environment.delenv("ENVIRONMENT")
        environment.delenv(name)


@pytest.mark.parametrize("make", [lambda: secrets.token_hex(16), lambda: secrets.token_urlsafe(24)])
def test_random_secrets_are_never_easy_to_guess(make: Callable[[], str]) -> None:
    assert guessable({str(number): make() for number in range(100)}) == []


def test_counting_the_guesses_leaves_no_word_lists_in_the_service(environment: pytest.MonkeyPatch) -> None:
    for name, value in (GOOD | {"ENVIRONMENT": "production"}).items():
        environment.setenv(name, value)
    assert Settings.load().in_production
    program = "import sys, todo_service.config.settings as s; s.Settings.load(); print('zxcvbn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
