"""Connection strings as platforms, ORMs and poolers write them, and the mistakes people make in them."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from todo_service.config.database_url import Dsn, parse

SECRET = "QZX7KWV9"
READ = [
    ("postgres://u:p@h/db", {"hosts": (("h", 5432),), "user": "u", "password": "p", "database": "db"}),
    ("postgresql://u:p@h:6000/db", {"hosts": (("h", 6000),)}),
    ("postgresql+asyncpg://u:p@h/db", {"hosts": (("h", 5432),), "sslmode": None, "pooled": False}),
    ("postgresql+psycopg://h/db", {"user": None, "password": None}),
    ("postgresql+psycopg2://h", {"hosts": (("h", 5432),), "database": None}),
    ("POSTGRESQL://h/db", {"database": "db"}),
    ("jdbc:postgresql://h/db?user=u&password=p", {"user": "u", "password": "p"}),
    ("  postgres://h/db\n", {"database": "db", "notes": ()}),
    ("postgresql:///", {"hosts": (), "database": None}),
    ("postgresql:///todo?host=/var/run/postgresql", {"hosts": (("/var/run/postgresql", 5432),), "database": "todo"}),
    ("postgresql:///todo?host=/tmp&port=5433&user=u", {"hosts": (("/tmp", 5433),), "user": "u"}),
    ("postgresql://u@%2Fvar%2Frun/todo", {"hosts": (("/var/run", 5432),), "user": "u"}),
    ("postgres://u:p@localhost/db?host=/cloudsql/a:b:c", {"hosts": (("/cloudsql/a:b:c", 5432),)}),
    ("postgres://[::1]:5433/db", {"hosts": (("::1", 5433),)}),
    ("postgres://u:p@[2001:db8::1]/db", {"hosts": (("2001:db8::1", 5432),)}),
    ("postgres://a,b:6000,[::1]:7000/db", {"hosts": (("a", 5432), ("b", 6000), ("::1", 7000))}),
    ("postgres://a,b/db", {"target_session_attrs": "read-write"}),
    ("postgres://a,b/db?target_session_attrs=any", {"target_session_attrs": "any"}),
    ("postgres:///db?host=a,b&port=1,2", {"hosts": (("a", 1), ("b", 2))}),
    ("postgres:///db?host=a:1&host=b:2", {"hosts": (("a", 1), ("b", 2))}),
    ("postgres://u%40srv:p%2F%40%3A@h/d%2Fb", {"user": "u@srv", "password": "p/@:", "database": "d/b"}),
    ("postgres://u:a@b:c@h/db", {"user": "u", "password": "a@b:c", "hosts": (("h", 5432),)}),
    ("postgres://u:p+w@h/db", {"password": "p+w"}),
    ("postgres://:p@h/db", {"user": None, "password": "p"}),
    ("postgres://h/db?sslmode=require", {"sslmode": "require", "notes": ()}),
    ("postgres://h/db?sslmode=no-verify", {"sslmode": "require"}),
    ("postgres://h/db?ssl=require", {"sslmode": "require"}),
    ("postgres://h/db?ssl=true", {"sslmode": "require"}),
    ("postgres://h/db?ssl=false", {"sslmode": "disable"}),
    ("postgres://h/db?ssl=true&sslmode=disable", {"sslmode": "disable"}),
    ("postgres://h/db?sslmode=disable&ssl=true", {"sslmode": "disable"}),
    ("postgres://h/db?requiressl=1", {"sslmode": "require"}),
    ("postgres://h/db?sslrootcert=system", {"sslmode": "verify-full", "sslrootcert": "system"}),
    ("postgres://h/db?sslmode=require&sslrootcert=system", {"sslmode": "verify-full"}),
    ("postgres://h/db?sslmode=require&sslnegotiation=direct", {"direct_tls": True}),
    ("postgres://h/db?connect_timeout=10", {"connect_timeout": 10.0}),
    ("postgres://h/db?connect_timeout=0", {"connect_timeout": None}),
    ("postgres://h/db?passfile=/x", {"passfile": "/x"}),
    ("postgres://h/db?application_name=a", {"server_settings": {"application_name": "a"}}),
    ("postgres://h/db?options=-c%20search_path%3Da%2Cb", {"server_settings": {"search_path": "a,b"}}),
    (
        "postgres://h/db?options=-csearch_path=a%20-c+work_mem=1MB",
        {"server_settings": {"search_path": "a", "work_mem": "1MB"}},
    ),
    ("postgres://h/db?options=--geqo=off", {"server_settings": {"geqo": "off"}}),
    ("postgres://h/db?options=-c%20search_path%3Da%5C%20b", {"server_settings": {"search_path": "a b"}}),
    ("postgres://h/db?options=-c%20TimeZone%3DCET", {"server_settings": {}}),
    ("postgres://h/db?schema=todo", {"server_settings": {"search_path": '"todo"'}}),
    ("postgres://h/db?schema=public", {"server_settings": {}}),
    ("postgres://h/db?statement_timeout=500", {"server_settings": {"statement_timeout": "500"}}),
    ("postgres://h/db?pgbouncer=true", {"pooled": True}),
    ("postgres://h/db?pgbouncer=false", {"pooled": False}),
    ("postgres://h/db?statement_cache_size=0", {"pooled": True, "prepared": False}),
    ("postgresql+asyncpg://h/db?prepared_statement_cache_size=0", {"pooled": True, "prepared": False}),
    ("postgres://h/db?statement_cache_size=100", {"pooled": False, "statement_cache_size": 100}),
    ("postgres://h/db?pgbouncer=true", {"pooled": True, "prepared": None}),
    ("postgres://h/db?pgbouncer=true&prepared_statements=true", {"pooled": True, "prepared": True}),
    ("postgres://u:p@ep-a-1-pooler.eu-central-1.aws.neon.tech/db", {"pooled": True}),
    ("postgres://u:p@ep-a-1.eu-central-1.aws.neon.tech/db", {"pooled": False}),
    ("postgres://u:p@aws-0-eu.pooler.supabase.com:6543/db", {"pooled": True}),
    ("postgres://u:p@aws-0-eu.pooler.supabase.com:5432/db", {"pooled": False}),
]
LEFT_OUT = [
    "channel_binding=require",
    "options=endpoint%3Dep-a-1",
    "options=project%3Da",
    "keepalives=1",
    "keepalives_idle=30",
    "tcp_user_timeout=1000",
    "gssencmode=prefer",
    "connection_limit=5",
    "pool_timeout=10",
    "load_balance_hosts=random",
    "sslcompression=0",
    "timezone=UTC",
]
REFUSED = [
    ("mysql://u:{}@h/db", "mysql"),
    ("sqlite:///todo.db", "sqlite"),
    ("https://h/db", "https"),
    ("postgres://u:{}@h/db?prepared_statements=perhaps", "neither true nor false"),
    ("postgres://u:{}@h/db?statement_cache_size=-1", "whole number of statements"),
    ("prisma://h/db", "scheme"),
    ("postgresql+nodriver://h/db", "scheme"),
    ("u:{}@h/db", "scheme"),
    ("", "scheme"),
    ("host=h user=u password={}", "space"),
    ("password={}", "key=value"),
    ("psql postgres://u:{}@h/db", "space"),
    ("postgres://u:{}\t@h/db", "space"),
    ("postgres://u:a#{}@h/db", "%23"),
    ("postgres://u:a/{}@h/db", "%2F"),
    ("postgres://u:a?{}@h/db", "%3F"),
    ("postgres://u:a?sslmode={}@h/db", "%3F"),
    ("postgres://u:a@b/{}@h/db", "%40"),
    ("postgres://u:50%{}@h/db", "%25"),
    ("postgres://u:%ff{}@h/db", "UTF-8"),
    ("postgres://u:%00{}@h/db", "%00"),
    ("postgres://u:{}\udcff@h/db", "UTF-8"),
    ("postgres://u:{}/db", "host is missing"),
    ("postgres://u:a:{}/db", "brackets"),
    ("postgres://h:99999/db", "65535"),
    ("postgres://::1/db", "brackets"),
    ("postgres://[{}]/db", "brackets"),
    ("postgres://a b/db", "space"),
    ("postgres://a!{}/db", "host"),
    ("postgres://a..b/db", "host"),
    ("postgres://a,,b/db", "no host"),
    ("postgres:///db?host=a,b&port=1,2,3", "ports"),
    ("postgres://h/db/{}", "second /"),
    ("postgres://h/db?sslmod=require", "did you mean sslmode?"),
    ("postgres://h/db?sslMode=require", "did you mean sslmode?"),
    ("postgres://h/db?zzzqqq=1", "zzzqqq"),
    ("postgres://h/db?password=a&{}=b", "%26"),
    ("postgres://h/db?password=a&{}", "%26"),
    ("postgres://h/db?sslmode={}", "verify-full"),
    ("postgres://h/db?ssl={}", "verify-full"),
    ("postgres://h/db?sslmode=require&sslmode=disable", "twice"),
    ("postgres://h/db?connect_timeout={}", "seconds"),
    ("postgres://h/db?target_session_attrs={}", "read-write"),
    ("postgres://h/db?pgbouncer={}", "true"),
    ("postgres://h/db?options={}", "-c"),
    ("postgres://h/db?options=-c%20{}", "-c"),
    ("postgres://h/db?sslrootcert=/no/{}", "sslrootcert"),
    ("postgres://h/db?sslcert=/no/{}", "sslcert"),
    ("postgres://h/db?sslnegotiation=direct", "sslmode=require"),
    ("postgres://h/db?service={}", "service"),
    ("postgres://h/db?client_encoding=latin1", "utf8"),
]


@pytest.mark.parametrize(("url", "expected"), READ, ids=[url for url, _ in READ])
def test_what_people_write_is_read(url: str, expected: dict[str, Any]) -> None:
    found = parse(url)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("parameter", LEFT_OUT)
def test_what_does_not_apply_is_left_out_with_a_note(parameter: str) -> None:
    found = parse(f"postgres://h/db?{parameter}")
    assert found.server_settings == {}
    assert len(found.notes) == 1
    assert parameter.partition("=")[0] in found.notes[0]


@pytest.mark.parametrize(("url", "words"), REFUSED, ids=[ascii(url) for url, _ in REFUSED])
def test_what_cannot_work_is_refused_in_words_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(url.format(SECRET))
    text = str(refusal.value)
    assert words in text
    assert SECRET not in text
    assert "\n" not in text
    assert refusal.value.__cause__ is None


def test_neons_string_as_its_console_gives_it() -> None:
    found = parse(
        "postgresql://owner:npg_x@ep-cool-1-pooler.eu-central-1.aws.neon.tech/neondb"
        "?sslmode=require&channel_binding=require&options=endpoint%3Dep-cool-1"
    )
    assert found == Dsn(
        hosts=(("ep-cool-1-pooler.eu-central-1.aws.neon.tech", 5432),),
        user="owner",
        password="npg_x",
        database="neondb",
        sslmode="require",
        pooled=True,
        notes=found.notes,
    )
    assert len(found.notes) == 2


def test_the_password_is_not_shown() -> None:
    assert SECRET not in repr(parse(f"postgres://u:{SECRET}@h/db?sslpassword={SECRET}"))


def test_quotes_around_the_url_are_left_out_with_a_note() -> None:
    found = parse('"postgres://h/db"')
    assert (found.database, len(found.notes)) == ("db", 1)


def test_verification_without_a_root_file_uses_the_systems_trust_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for mode in ("verify-ca", "verify-full"):
        found = parse(f"postgres://h/db?sslmode={mode}")
        assert (found.sslmode, found.sslrootcert, len(found.notes)) == ("verify-full", "system", 1)
    (own := tmp_path / ".postgresql" / "root.crt").parent.mkdir()
    own.touch()
    found = parse("postgres://h/db?sslmode=verify-ca")
    assert (found.sslmode, found.sslrootcert, found.notes) == ("verify-ca", str(own), ())


def test_certificates_raise_the_mode_nobody_chose(tmp_path: Path) -> None:
    (file := tmp_path / "file.pem").touch()
    assert parse(f"postgres://h/db?sslrootcert={file}").sslmode == "verify-full"
    assert parse(f"postgres://h/db?sslcert={file}&sslkey={file}").sslmode == "require"
    assert parse(f"postgres://h/db?sslmode=verify-ca&sslrootcert={file}").sslmode == "verify-ca"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgres://h/db", True),
        ("postgres://h/db?sslmode=prefer", True),
        ("postgres://localhost,h/db", True),
        ("postgres://h/db?sslmode=require", False),
        ("postgres://127.0.0.1/db", False),
        ("postgres://[::1]/db", False),
        ("postgres:///db?host=/tmp", False),
        ("postgres:///db", False),
    ],
)
def test_it_is_known_when_data_may_cross_the_network_in_the_clear(url: str, plain: bool) -> None:
    assert parse(url).may_be_plain is plain


ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
# Letters that no English sentence of ours holds, so that a found piece is a leaked piece.
MESSY = st.text("QZXJ974@#/?%:&=+[],;!$^*(){}|\\\"'<>~` ", min_size=1, max_size=20)


@given(user=ANY_TEXT, password=ANY_TEXT, database=ANY_TEXT)
def test_percent_encoded_parts_come_back_as_they_were(user: str, password: str, database: str) -> None:
    found = parse(f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@h:5433/{quote(database, safe='')}")
    assert (found.user, found.password, found.database) == (user, password, database)
    assert found.hosts == (("h", 5433),)


@given(MESSY, st.sampled_from(["", "?sslmode=require", "?sslmode=prefer&application_name=todo"]))
@example("QQQQ?QQQQ=ZZZZ", "")
@example("QQQQ/ZZZZ?XXXX&QQQQ", "?sslmode=require")
@example("@QQQQ:ZZZZ@", "")
def test_an_unescaped_password_is_read_as_meant_or_refused_without_a_piece_of_it(password: str, query: str) -> None:
    url = f"postgres://u:{password}@db.internal:5433/todo{query}"
    pieces = [piece for piece in re.split(r"[^QZXJ974]+", password) if len(piece) > 2]
    if (refusal := refused(url)) is not None:
        assert not [piece for piece in pieces if piece in refusal]
        return
    found = parse(url)
    assert found.hosts == (("db.internal", 5433),)
    if not re.search("%[0-9A-F]{2}", password):
        assert (found.user, found.password, found.database) == ("u", password, "todo")


@given(st.text(max_size=60).map(lambda rest: f"postgres://{rest}"))
def test_no_text_does_anything_but_parse_or_be_refused(url: str) -> None:
    assert refused(url) != ""


def refused(url: str) -> str | None:
    """What is said against the URL, None when nothing is."""
    try:
        parse(url)
    except ValueError as error:
        return str(error)
    return None
