"""DATABASE_URL: the connection strings of hosting platforms, ORMs and poolers, parsed into one form.

They are dialects of libpq's URI (PostgreSQL manual, 34.1.1.2). Every parameter is mapped, dropped with a note, or
refused with a correction; nothing is lost silently. An error never repeats a part of the credentials: an unescaped `@`,
`/`, `?` or `#` in a password moves the rest of it into the host, port or parameters, so those are not repeated either.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from todo_service.config import database_url_parameters
from todo_service.config.database_url_parameters import ESCAPE, TLS_FILES, TLS_MODES, Draft, decoded

DEFAULT_PORT = 5432
SYSTEM_TRUST = "system"

_SCHEMES = {"postgres", "postgresql"}
_DRIVERS = {"asyncpg", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "pg8000", "aiopg"}
_OTHER_DATABASES = {"mysql", "mariadb", "sqlite", "sqlite3", "mongodb", "redis", "mssql", "oracle", "http", "https"}
_EXAMPLE = "postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class Dsn:
    """A parsed connection string.

    Attributes:
        hosts: Pairs of a name, address or socket folder and a port, in the order to try. Empty, like an absent user,
            password or database, means libpq's defaults (`PGHOST`, `PGUSER`, `PGPASSWORD`, `~/.pgpass`…).
        sslmode: None if it is not set.
        sslrootcert: A file, or `system` for the machine's trust store.
        connect_timeout: Seconds for one host.
        server_settings: Sent even through a pooler.
        pooled: A server connection is shared by transaction.
        prepared: Whether such a pooler keeps prepared statements; None for asking it.
        statement_cache_size: Prepared statements of a connection, None for the driver's number.
        notes: The repaired and the dropped parts.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    passfile: str | None = None
    database: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcrl: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = field(default=None, repr=False)
    direct_tls: bool = False
    target_session_attrs: str = "any"
    connect_timeout: float | None = None
    server_settings: Mapping[str, str] = field(default_factory=dict)
    pooled: bool = False
    prepared: bool | None = None
    statement_cache_size: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def needs_tls(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.sslmode in TLS_MODES

    @property
    def may_be_plain(self) -> bool:
        """Whether credentials and data may cross a network unencrypted."""
        return not self.needs_tls and not all(_is_local(host) for host, _ in self.hosts)


def parse(url: str) -> Dsn:
    """Parse a connection URL. Raises `ValueError` with one sentence that holds no part of the password."""
    draft = Draft()
    address, _, query = _after_scheme(url, draft).partition("?")
    authority, _, path = address.partition("/")
    if "@" in path or "@" in query:
        raise ValueError(ESCAPE)
    credentials, _, draft.hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if "/" in path:
        raise ValueError("has a second / after the database's name; write %2F for a / inside a name")
    for name, text in (("user", user), ("password", password), ("database", path)):
        if text:
            draft.values[name] = decoded(text)
    database_url_parameters.read(query, draft)
    return _finished(draft)


def _after_scheme(url: str, draft: Draft) -> str:
    text = url.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
        draft.notes.append("The quotes around the URL were left out.")
    if any(ord(character) <= 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise ValueError(
            f"holds a space or control character; write only the URL, as in {_EXAMPLE}, with %20 for a space"
        )
    if "#" in text:
        raise ValueError(ESCAPE)
    scheme, separator, rest = text.removeprefix("jdbc:").partition("://")
    if not separator:
        if re.match(r"\w+=", text):
            raise ValueError(f"is a list of key=value pairs; write it as a URL: {_EXAMPLE}")
        raise ValueError(f"does not start with a scheme; write {_EXAMPLE}")
    kind, _, driver = scheme.lower().partition("+")
    if kind in _OTHER_DATABASES:
        raise ValueError(f"names {kind}, but the service needs PostgreSQL; write {_EXAMPLE}")
    if kind not in _SCHEMES or (driver and driver not in _DRIVERS):
        raise ValueError(f"has a scheme that is not PostgreSQL's; write {_EXAMPLE}")
    return rest


def _finished(draft: Draft) -> Dsn:
    hosts = tuple(_hosts(draft.hosts, draft.ports))
    values = {name: value for name, value in draft.values.items() if value is not None}
    _settle_tls(values, draft.notes)
    if len(hosts) > 1 and "target_session_attrs" not in values:
        values["target_session_attrs"] = "read-write"
        draft.notes.append("With several hosts the one that accepts writes is used (target_session_attrs=read-write).")
    if draft.server_settings.pop("timezone", None):
        draft.notes.append("The URL's timezone is left out: the service works in UTC.")
    values["pooled"] = values.get("pooled", False) or any(_is_pooler(host, port) for host, port in hosts)
    return Dsn(hosts=hosts, server_settings=draft.server_settings, notes=tuple(draft.notes), **values)


def _hosts(hosts: str, ports: str) -> Iterator[tuple[str, int]]:
    names = hosts.split(",") if hosts or ports else []
    numbers = [_port(port) if port else DEFAULT_PORT for port in ports.split(",")]
    if len(numbers) not in (1, len(names)):
        raise ValueError("has another number of ports than of hosts; give one port, or one for each host")
    for index, text in enumerate(names):
        default = numbers[index % len(numbers)]
        address = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?", text)
        if text.lower().startswith(("/", "%2f")):
            yield decoded(text), default
        elif address is None:
            raise ValueError(
                "has a host with more than one : in it; write an IPv6 address in brackets, [::1]:5432, "
                "and %3A or %40 for a : or @ in the password"
            )
        else:
            yield _host(address[1]), _port(address[2]) if address[2] else default


def _host(text: str) -> str:
    name = decoded(text)
    if name.startswith("["):
        try:
            return str(ip_address(name[1:-1]))
        except ValueError:
            raise ValueError("has something in brackets that is no IPv6 address; write it as [::1]") from None
    if not name:
        raise ValueError(f"has no host where one is needed; write {_EXAMPLE}")
    try:
        name.encode("idna")
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"[\w.-]{1,253}", name):
        raise ValueError("has a host that is no host name; " + ESCAPE.replace("holds", "it may hold"))
    return name


def _port(text: str) -> int:
    # The text is not repeated: without its host, `user:password` reads as host and port.
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise ValueError(
            "has a port that is not a number from 1 to 65535; if that is the password, the host is missing"
        )
    return int(text)


def _settle_tls(values: dict[str, Any], notes: list[str]) -> None:
    """Set the mode that the given certificates ask for, and the trust store if no certificate is given."""
    for name in TLS_FILES:
        if name not in values or (name == "sslrootcert" and values[name] == SYSTEM_TRUST):
            continue
        if not (file := Path(values[name]).expanduser()).is_file():
            raise ValueError(f"names a file in {name} that does not exist or cannot be read")
        values[name] = str(file)
    mode = values.get("sslmode")
    if "sslrootcert" in values and (mode is None or values["sslrootcert"] == SYSTEM_TRUST):
        values["sslmode"] = "verify-full"
    elif "sslcert" in values and mode in (None, "allow", "prefer"):
        values["sslmode"] = "require"
    if values.get("sslmode") != mode:
        notes.append(f"The certificates given ask for sslmode={values['sslmode']}, which is used.")
    if values.get("sslmode") in ("verify-ca", "verify-full") and "sslrootcert" not in values:
        if (own := Path("~/.postgresql/root.crt").expanduser()).is_file():
            values["sslrootcert"] = str(own)
        else:
            values |= {"sslmode": "verify-full", "sslrootcert": SYSTEM_TRUST}
            notes.append("No sslrootcert is given: the server's certificate is checked by the system's trust store.")
    if values.get("direct_tls") and values.get("sslmode") not in TLS_MODES:
        raise ValueError("has sslnegotiation=direct without TLS; add sslmode=require or stronger")


def _is_pooler(host: str, port: int) -> bool:
    """Return whether this is a hosting platform's transaction pooler, by its documented names and ports."""
    return (
        re.search(r"-pooler\.([\w-]+\.)*neon\.(tech|build)$", host) is not None
        or (port == 6543 and host.endswith((".supabase.com", ".supabase.co")))
        or (port == 6432 and host.endswith(".postgres.database.azure.com"))
        or (port == 25061 and host.endswith(".ondigitalocean.com"))
    )


def _is_local(host: str) -> bool:
    return host.startswith("/") or host in ("localhost", "::1") or re.fullmatch(r"127\.[0-9.]+", host) is not None
