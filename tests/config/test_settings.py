"""Settings: one message names every wrong variable, and no value is ever in it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.conftest import GOOD, wrong
from tests.conftest import SECRET_KEY
from todo_service.commands.command_settings import CommandSettings
from todo_service.config.allowlists import check_origins
from todo_service.config.settings import ROOT, Settings, SettingsError


def test_an_empty_environment_is_a_development_environment(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    assert (settings.environment, settings.server_port, settings.database_url) == ("development", 8000, None)
    assert (settings.bcrypt_rounds, settings.max_tasks_per_user, settings.drain) == (12, 10_000, 0)


def test_every_wrong_variable_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    reasons = wrong(
        environment, SERVER_PORT="http", DATABASE_URL="mysql://u:p4ssw0rd@h/d", SECRET_KEY="short", LOG_LEVEL="loud",
        ENVIRONMENT="prod", DATABASE_POOL_MIN="9", DATABASE_POOL_MAX="3", MAX_TASKS_PER_USER="0", DEBUG="perhaps",
    )  # fmt: skip
    assert set(reasons) == {
        "SERVER_PORT", "DATABASE_URL", "SECRET_KEY", "LOG_LEVEL", "ENVIRONMENT", "DATABASE_POOL_MAX",
        "MAX_TASKS_PER_USER", "DEBUG",
    }  # fmt: skip
    assert "32 bytes" in reasons["SECRET_KEY"]


@pytest.mark.parametrize(
    "url", ["auth.test/jwks", "ftp://auth.test/jwks", "https://:80/", "https://u:p4ss@auth.test/", "http://a:99999/",
            "http://a:b/", "http://[::1/jwks", "https://auth test/", "file:///etc/passwd"],
)  # fmt: skip
def test_the_address_of_keys_is_one_of_the_web(environment: pytest.MonkeyPatch, url: str) -> None:
    assert set(wrong(environment, JWKS_URL=url)) == {"JWKS_URL"}


@pytest.mark.parametrize(
    "table", ["user sessions", 'a"b', "a.b.c", "1a", "a;b", ".a", "a.", "a" * 64, "séance", "user_sessions\n"]
)
def test_the_table_of_sessions_is_a_plain_name(environment: pytest.MonkeyPatch, table: str) -> None:
    assert set(wrong(environment, SESSION_TABLE=table)) == {"SESSION_TABLE"}


def test_good_names_of_tables(environment: pytest.MonkeyPatch) -> None:
    for table in ("user_sessions", "session", "auth.Session", "a" * 63):
        environment.setenv("SESSION_TABLE", table)
        assert Settings.load().session_table == table


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        ("null", "is null"), ("site.test", "has no scheme"), ("https://app.example.com/", "slash at its end"),
        ("https://app.example.com/login", "has a path"), ("https://App.example.com", "capital letters"),
        ("https://app.example.com:443", "port 443"), ("http://localhost:80", "port 80"),
        ("https://*.example.com", "is not"), ("https://a:99999", "above 65535"),
        ("https://bücher.example", "is not"), ("https://u:p@app.example.com", "is not"),
        ("https://", "slash at its end"), ("//a.test", "has no scheme"),
        ("https://a:b", "is not"), ("https://a:", "is not"), ("https://a b", "is not"),
        ("https://a;b", "is not"), ('["https://a.test", 1]', "strings"), ('["https://a.test"', "JSON list"),
        ("https://a.test,null", "entry 2 is null"), ("*,https://a.test", "* alone"), ("https://a.test?x", "is not"),
        ("https://a.test\n", "is not"),
    ],
)  # fmt: skip
def test_origins_are_as_browsers_send_them(environment: pytest.MonkeyPatch, origins: str, reason: str) -> None:
    if origins.endswith("\n"):
        with pytest.raises(ValueError, match="is not"):
            check_origins([origins], in_production=False)
    else:
        reasons = wrong(environment, CORS_ORIGINS=origins)
        assert reason in reasons.pop("CORS_ORIGINS")
        assert not reasons


def test_good_origins(environment: pytest.MonkeyPatch) -> None:
    origins = ("https://app.example.com", "http://localhost:3000", "http://[::1]:5173", "capacitor://localhost")
    for written in (",".join(origins), " , ".join(origins) + ",", json.dumps(origins), f" {json.dumps(origins)}"):
        environment.setenv("CORS_ORIGINS", written)
        assert Settings.load().cors_origins == origins
    for nothing in ("", " ", ",", "[]"):
        environment.setenv("CORS_ORIGINS", nothing)
        assert Settings.load().cors_origins == ()
    environment.setenv("CORS_ORIGINS", "*")
    assert Settings.load().cors_origins == ("*",)


def test_production_names_its_origins(environment: pytest.MonkeyPatch) -> None:
    for everybody in ("*", '["*"]', "https://a.test,*"):
        reasons = wrong(environment, **GOOD, ENVIRONMENT="production", CORS_ORIGINS=everybody)
        assert "must name origins in production" in reasons["CORS_ORIGINS"]


@pytest.mark.parametrize(
    "hosts", ["*", "https://a.test", "a.test:80", "a b", "*.", "a.*", "**.a.test", ".a.test", "a_.test", "a..b", "[x]",
              "bücher.example", "a.test,*", '["a.test"'],
)  # fmt: skip
def test_hosts_are_names_without_ports(environment: pytest.MonkeyPatch, hosts: str) -> None:
    assert set(wrong(environment, ALLOWED_HOSTS=hosts)) == {"ALLOWED_HOSTS"}


def test_good_hosts(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_HOSTS", "API.example.com, *.example.com,192.0.2.7,[::1],localhost")
    settings = Settings.load()
    assert settings.allowed_hosts == ("api.example.com", "*.example.com", "192.0.2.7", "[::1]", "localhost")
    assert settings.hosts == ()
    environment.setenv("ENVIRONMENT", "staging")
    for name, value in GOOD.items():
        environment.setenv(name, value)
    assert Settings.load().hosts == settings.allowed_hosts


@pytest.mark.parametrize(
    "url", ["gemini.test", "ftp://gemini.test", "https://", "https://u:p4ss@gemini.test", "https://gemini.test?key=x",
            "https://gemini.test/#", "http://a:b/", "https://a b", "file:///etc/passwd", "https://é.test"],
)  # fmt: skip
def test_addresses_of_gemini_that_are_refused(environment: pytest.MonkeyPatch, url: str) -> None:
    assert set(wrong(environment, GEMINI_BASE_URL=url)) == {"GEMINI_BASE_URL"}


def test_keys_leave_production_encrypted(environment: pytest.MonkeyPatch) -> None:
    assert Settings.load().gemini_base_url == "https://generativelanguage.googleapis.com"
    environment.setenv("GEMINI_BASE_URL", "http://127.0.0.1:9000/base/")
    assert Settings.load().gemini_base_url == "http://127.0.0.1:9000/base"
    reasons = wrong(environment, **GOOD, ENVIRONMENT="production")
    assert set(reasons) == {"GEMINI_BASE_URL"}
    assert "https://" in reasons["GEMINI_BASE_URL"]


def test_certificates_are_read_while_the_settings_are(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("not a certificate")
    url = f"{GOOD['DATABASE_URL']}?sslmode=verify-full&sslrootcert={tmp_path}/root.pem"
    assert set(wrong(environment, DATABASE_URL=url)) == {"DATABASE_URL"}


def test_algorithms_are_a_fixed_list(environment: pytest.MonkeyPatch) -> None:
    assert set(wrong(environment, ALGORITHM="none")) == {"ALGORITHM"}


def test_production_needs_database_and_secret_and_no_debugging(environment: pytest.MonkeyPatch) -> None:
    reasons = wrong(environment, ENVIRONMENT="production", DEBUG="true", BCRYPT_ROUNDS="4")
    assert reasons["DATABASE_URL"] == reasons["SECRET_KEY"] == "must be set outside development"
    assert {"DEBUG", "BCRYPT_ROUNDS"} <= set(reasons)


def test_production_with_all_it_needs(environment: pytest.MonkeyPatch) -> None:
    for name, value in (GOOD | {"ENVIRONMENT": "production"}).items():
        environment.setenv(name, value)
    settings = Settings.load()
    assert settings.in_production
    assert settings.drain == 5
    for secret in ("p4ssw0rd", SECRET_KEY):
        assert secret not in repr(settings)
        assert secret not in str(settings)


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://127.0.0.1:6379", "redis://h:port/0", "redis://h:6379/zero", "redis://h/0?nonsense=1",
            "memcached://127.0.0.1", "redis://[::1", "redis://127.0.0.1:99999", "redis:///0"],
)  # fmt: skip
def test_addresses_of_redis_that_are_refused(environment: pytest.MonkeyPatch, url: str) -> None:
    assert "redis://" in wrong(environment, REDIS_URL=url)["REDIS_URL"]


def test_addresses_of_redis(environment: pytest.MonkeyPatch) -> None:
    for url in (
        "redis://127.0.0.1", "redis://:p4ssw0rd@127.0.0.1:6379/0", "rediss://user:p%40ss@redis.example.com:6380/1",
        "unix:///run/redis.sock?db=1", "unix://:p4ssw0rd@/run/redis.sock", "redis://[::1]:6379",
        "rediss://redis.example.com?ssl_cert_reqs=none",
    ):  # fmt: skip
        environment.setenv("REDIS_URL", url)
        settings = Settings.load()
        assert settings.redis_url
        assert url not in repr(settings)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "0.0.0.0/0", "::/0", "proxy.example.com", "*", "10.0.0.0/8;::1"])
def test_trusted_proxies_that_are_refused(environment: pytest.MonkeyPatch, text: str) -> None:
    assert "must" in wrong(environment, TRUSTED_PROXIES=text)["TRUSTED_PROXIES"]


def test_trusted_proxies(environment: pytest.MonkeyPatch) -> None:
    assert Settings.load().trusted_proxies == ()
    environment.setenv("TRUSTED_PROXIES", " 10.0.0.0/8, 192.0.2.7 ,fd00::/8")
    assert [str(network) for network in Settings.load().trusted_proxies] == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]


def test_limits_that_are_refused(environment: pytest.MonkeyPatch) -> None:
    reasons = wrong(
        environment,
        RATE_LIMIT_READ="0",
        RATE_LIMIT_WRITE="many",
        RATE_LIMIT_AUTH="100001",
        RATE_LIMIT_ENABLED="perhaps",
    )
    assert len(reasons) == 4


def test_keys_of_an_auth_server_come_encrypted_in_production(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWKS_URL", "http://auth.example.com/jwks")
    assert Settings.load().jwks_url == "http://auth.example.com/jwks"
    reasons = wrong(environment, **GOOD, ENVIRONMENT="production", JWKS_URL="http://auth.example.com/jwks")
    assert "must begin with https:// in production" in reasons["JWKS_URL"]


def test_a_command_needs_no_secret_and_minds_only_its_own(environment: pytest.MonkeyPatch) -> None:
    others = {"SECRET_KEY": "short", "SERVER_PORT": "http", "ALGORITHM": "none", "JWKS_URL": "x", "DEBUG": "true"}
    for name, value in (GOOD | {"ENVIRONMENT": "production", "DATABASE_POOL_MAX": "7"} | others).items():
        environment.setenv(name, value)
    settings = CommandSettings.load()
    assert (settings.in_production, settings.database_pool_max, settings.server_port) == (True, 7, 8000)
    assert settings.secret_key is None
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert all(name in str(refused.value) for name in others)


def test_a_command_needs_its_database_all_the_same(environment: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "staging", "DATABASE_STATEMENT_TIMEOUT": "0", "SECRET_KEY": SECRET_KEY}.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        CommandSettings.load()
    assert "DATABASE_URL: must be set outside development" in str(refused.value)
    assert "DATABASE_STATEMENT_TIMEOUT" in str(refused.value)


def test_port_as_hosting_platforms_set_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "9000")
    assert Settings.load().server_port == 9000
    environment.setenv("SERVER_PORT", "9001")
    assert Settings.load().server_port == 9001


def test_empty_variables_count_as_unset(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "")
    environment.setenv("SERVER_PORT", "")
    assert Settings.load().server_port == 8000


def test_the_file_is_read_in_development_only(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SERVER_PORT=9002\nUNKNOWN=1\n")
    assert Settings.load().server_port == 9002
    environment.setenv("SERVER_PORT", "9003")
    assert Settings.load().server_port == 9003, "the environment comes first"
    environment.delenv("SERVER_PORT")
    environment.setenv("ENVIRONMENT", "")
    assert Settings.load().server_port == 9002
    for name, value in (GOOD | {"ENVIRONMENT": "staging"}).items():
        environment.setenv(name, value)
    assert Settings.load().server_port == 8000


def test_wrong_settings_end_the_start_with_2_before_a_port_is_opened(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SERVER_PORT", "99999")
    environment.setenv("DATABASE_URL", "postgresql://ada:p4ss@w0rd#1@127.0.0.1/todo")
    done = subprocess.run([sys.executable, "-m", "todo_service"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "SERVER_PORT" in done.stderr
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "w0rd" not in done.stderr + done.stdout


def test_every_setting_is_in_its_document_and_in_the_example() -> None:
    document, example = (ROOT / "docs/settings.md").read_text(), (ROOT / ".env.example").read_text()
    for field in Settings.model_fields:
        assert f"| `{field.upper()}` |" in document, field
        assert re.search(rf"^#?{field.upper()}=", example, re.MULTILINE), field
    for name in re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE):
        assert name.lower() in Settings.model_fields, name
    for name in re.findall(r"^\| `([A-Z_]+)` \|", document, re.MULTILINE):
        assert name.lower() in Settings.model_fields, name


@pytest.mark.parametrize("name", ["METRICS_PORT", "SERVER_PORT"])
def test_a_variable_that_kubernetes_makes_is_explained(environment: pytest.MonkeyPatch, name: str) -> None:
    assert "enableServiceLinks" in wrong(environment, **{name: "tcp://10.0.0.5:9090"})[name]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_an_env_file_in_another_encoding_is_one_sentence(
    environment: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / ".env").write_bytes("APP_NAME=Aufgäben\n".encode(encoding))
    with pytest.raises(SettingsError, match="not UTF-8: save it") as refused:
        Settings.load()
    assert len(str(refused.value).splitlines()) == 1
