"""The connection string as people have it, turned into what a connection needs.

Hosting platforms, ORMs and poolers each write their own dialect of libpq's URI (PostgreSQL manual, 34.1.1.2). Every
parameter here is mapped, dropped with a note, or refused with the words to write instead; nothing is lost silently.
An error never repeats a piece of the URL's credentials: an unescaped `@`, `/`, `?` or `#` in a password moves the rest
of it into the host, port or parameters, so those are not repeated either.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

DEFAULT_PORT = 5432
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
SYSTEM_TRUST = "system"

_SCHEMES = {"postgres", "postgresql"}
_DRIVERS = {"asyncpg", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "pg8000", "aiopg"}
_OTHER_DATABASES = {"mysql", "mariadb", "sqlite", "sqlite3", "mongodb", "redis", "mssql", "oracle", "http", "https"}
_EXAMPLE = "postgresql://user:password@host:5432/database"
_ESCAPE = (
    "holds a character that must be percent-encoded, most likely in the password: "
    "write %40 for @, %2F for /, %3F for ?, %23 for #, %25 for % and %20 for a space"
)


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where PostgreSQL is and how to speak to it.

    `hosts` are (name, address or socket folder, port) in the order to try; empty, like an absent user, password or
    database, means libpq's defaults (`PGHOST`, `PGUSER`, `PGPASSWORD`, `~/.pgpass`…). `sslmode` is None when nobody
    said; `sslrootcert` is a file or `system`, the machine's trust store. `connect_timeout` is seconds for one host.
    `server_settings` were asked for on purpose and are sent even through a pooler. `pooled` means that one server
    connection is shared by transaction. `notes` say what was repaired or left out.
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
    notes: tuple[str, ...] = ()

    @property
    def may_be_plain(self) -> bool:
        """Whether credentials and data may cross a network unencrypted."""
        return self.sslmode not in SSL_MODES[3:] and not all(_is_local(host) for host, _ in self.hosts)


@dataclass(slots=True)
class _Draft:
    """What has been read so far: `values` are fields of the `Dsn` under their names."""

    values: dict[str, Any] = field(default_factory=dict)
    server_settings: dict[str, str] = field(default_factory=dict)
    hosts: str = ""
    ports: str = ""
    notes: list[str] = field(default_factory=list)


def parse(url: str) -> Dsn:
    """Read a connection URL; raise `ValueError` with one sentence that holds nothing of the password."""
    draft = _Draft()
    address, _, query = _after_scheme(url, draft).partition("?")
    authority, _, path = address.partition("/")
    if "@" in path or "@" in query:
        raise ValueError(_ESCAPE)
    credentials, _, draft.hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if "/" in path:
        raise ValueError("has a second / after the database's name; write %2F for a / inside a name")
    for name, text in (("user", user), ("password", password), ("database", path)):
        if text:
            draft.values[name] = _decoded(text)
    for name, value in _parameters(query):
        _PARAMETERS[name](draft, name, value)
    return _finished(draft)


def _after_scheme(url: str, draft: _Draft) -> str:
    text = url.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
        draft.notes.append("The quotes around the URL were left out.")
    if any(ord(character) <= 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise ValueError(
            f"holds a space or control character; write only the URL, as in {_EXAMPLE}, with %20 for a space"
        )
    if "#" in text:
        raise ValueError(_ESCAPE)
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


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Yield each parameter once, `host` and `port` given several times as one list."""
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        raw_name, equals, raw_value = part.partition("=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if not equals:
            raise ValueError("has a parameter without a value; write each as name=value, with %26 for an & inside one")
        if name not in _PARAMETERS:
            raise ValueError(_unknown(name, has_secret="password=" in query))
        if name in ("host", "port") and name in found:
            value = f"{found[name]},{value}"
        elif found.get(name, value) != value:
            raise ValueError(f"gives {name} twice with different values; keep one")
        found[name] = value
    yield from found.items()


def _unknown(name: str, *, has_secret: bool) -> str:
    # An unescaped & in a password given as a parameter makes its rest look like the next parameter's name.
    if has_secret or not re.fullmatch(r"[A-Za-z_]{2,40}", name):
        return "has an unknown parameter; a value that holds & or = must be percent-encoded (%26, %3D)"
    close = get_close_matches(name.lower(), _PARAMETERS, n=1)
    return f"has an unknown parameter {name}; " + (f"did you mean {close[0]}?" if close else "remove it")


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(_ESCAPE)
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise ValueError("does not decode to UTF-8; percent-encode the UTF-8 bytes of each special character") from None
    if "\0" in decoded:
        raise ValueError("holds %00, which no PostgreSQL name or password may")
    return decoded


# What each parameter does.


def _keep(draft: _Draft, name: str, value: str) -> None:
    draft.values[name] = value or None


def _rename(field_name: str) -> Callable[[_Draft, str, str], None]:
    return lambda draft, _, value: _keep(draft, field_name, value)


def _drop(reason: str) -> Callable[[_Draft, str, str], None]:
    return lambda draft, name, _: draft.notes.append(f"The URL's {name} is left out: {reason}.")


def _refuse(instead: str) -> Callable[[_Draft, str, str], None]:
    def refuse(_: _Draft, name: str, __: str) -> None:
        raise ValueError(f"has the parameter {name}, which is not supported; {instead}")

    return refuse


def _server_setting(draft: _Draft, name: str, value: str) -> None:
    draft.server_settings[name] = value


def _sslmode(draft: _Draft, name: str, value: str) -> None:
    if value == "no-verify":
        value = "require"
    if value not in SSL_MODES:
        raise ValueError(f"has an unknown {name}; write sslmode= and one of {', '.join(SSL_MODES)}")
    draft.values["sslmode"] = value


def _ssl(draft: _Draft, name: str, value: str) -> None:
    meanings = {
        "true": "require",
        "1": "require",
        "on": "require",
        "false": "disable",
        "0": "disable",
        "off": "disable",
    }
    if "sslmode" not in draft.values:
        _sslmode(draft, name, meanings.get(value.lower(), value))


def _requiressl(draft: _Draft, name: str, value: str) -> None:
    _ssl(draft, name, "require" if value == "1" else "prefer")


def _sslnegotiation(draft: _Draft, name: str, value: str) -> None:
    if value not in ("postgres", "direct"):
        raise ValueError(f"has an unknown {name}; write postgres or direct")
    draft.values["direct_tls"] = value == "direct"


def _target(draft: _Draft, name: str, value: str) -> None:
    if value not in SESSION_ATTRS:
        raise ValueError(f"has an unknown {name}; write one of {', '.join(SESSION_ATTRS)}")
    if value in ("read-only", "standby", "prefer-standby"):
        draft.notes.append(f"With {name}={value} writes fail: the service needs a server that accepts them.")
    draft.values[name] = value


def _connect_timeout(draft: _Draft, name: str, value: str) -> None:
    if not re.fullmatch(r"-?[0-9]{1,6}", value):
        raise ValueError(f"has a {name} that is not a whole number of seconds")
    if int(value) > 0:
        draft.values[name] = float(value)
    else:
        draft.notes.append(f"The URL's {name} is left out: waiting without end is not possible here.")


def _switch(draft: _Draft, name: str, value: str) -> None:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"has a {name} that is neither true nor false")
    draft.values["pooled"] = value.lower() in ("true", "1") or draft.values.get("pooled", False)


def _statement_cache(draft: _Draft, name: str, value: str) -> None:
    if value == "0":
        draft.values["pooled"] = True
    else:
        _drop("the driver's own size is used")(draft, name, value)


def _schema(draft: _Draft, name: str, value: str) -> None:
    if value == "public":
        _drop("public is where tables are anyway")(draft, name, value)
    else:
        draft.server_settings["search_path"] = '"' + value.replace('"', '""') + '"'


def _client_encoding(draft: _Draft, name: str, value: str) -> None:
    if value.lower().replace("-", "") not in ("utf8", "auto", "unicode"):
        raise ValueError(f"has a {name} other than utf8; remove it")


def _options(draft: _Draft, _: str, value: str) -> None:
    """Translate `-c name=value`, `-cname=value` and `--name=value`; Neon's `endpoint=` is told by TLS."""
    words = re.sub(r"(^|[+ ])-c[+ ]*", r"\1--", value)
    for word in re.findall(r"(?:\\.|[^\s\\])+", re.sub(r"\+(?=--)", " ", words)):
        setting = re.fullmatch(r"--([A-Za-z_][\w.-]*)=(.*)", re.sub(r"\\(.)", r"\1", word))
        if setting:
            draft.server_settings[setting[1].lower().replace("-", "_")] = setting[2]
        elif re.match(r"(endpoint|project)=", word):
            draft.notes.append("The URL's options=endpoint is left out: TLS names the server (SNI).")
        else:
            raise ValueError("has options other than -c name=value; write options=-c%20name%3Dvalue")


_POOL = _drop("DATABASE_POOL_MAX and DATABASE_ACQUIRE_TIMEOUT say this")
_KEEPALIVE = _drop("idle connections are checked and renewed every DATABASE_POOL_RECYCLE seconds")
_GSS = _drop("Kerberos encryption is not used")
_TLS_DETAIL = _drop("the service's own TLS rules hold (1.2 or newer, SNI, no compression)")
_CLIENT = _drop("another client's setting")
_TLS_FILES = ("sslrootcert", "sslcrl", "sslcert", "sslkey")

_PARAMETERS: dict[str, Callable[[_Draft, str, str], None]] = {
    "host": lambda draft, _, value: setattr(draft, "hosts", value),
    "port": lambda draft, _, value: setattr(draft, "ports", value),
    "user": _keep,
    "username": _rename("user"),
    "password": _keep,
    "passfile": _keep,
    "dbname": _rename("database"),
    "database": _rename("database"),
    "sslmode": _sslmode,
    "ssl": _ssl,
    "requiressl": _requiressl,
    **dict.fromkeys((*_TLS_FILES, "sslpassword"), _keep),
    "sslnegotiation": _sslnegotiation,
    "target_session_attrs": _target,
    "connect_timeout": _connect_timeout,
    "options": _options,
    "schema": _schema,
    "client_encoding": _client_encoding,
    "application_name": _server_setting,
    "fallback_application_name": _CLIENT,
    **dict.fromkeys(("search_path", "statement_timeout", "lock_timeout", "work_mem", "role"), _server_setting),
    **dict.fromkeys(("idle_in_transaction_session_timeout", "transaction_timeout"), _server_setting),
    **dict.fromkeys(("jit", "plan_cache_mode", "synchronous_commit"), _server_setting),
    **dict.fromkeys(("timezone", "TimeZone"), _drop("the service works in UTC")),
    "pgbouncer": _switch,
    **dict.fromkeys(("statement_cache_size", "prepared_statement_cache_size"), _statement_cache),
    **dict.fromkeys(("prepared_statement_name_func", "prepareThreshold", "prepare_threshold"), _CLIENT),
    "channel_binding": _drop("the driver cannot do it; sslmode=verify-full gives the same safety"),
    **dict.fromkeys(("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"), _KEEPALIVE),
    "tcp_user_timeout": _KEEPALIVE,
    **dict.fromkeys(("gssencmode", "gssdelegation", "gsslib", "krbsrvname"), _GSS),
    **dict.fromkeys(("sslcompression", "sslsni", "sslcertmode"), _TLS_DETAIL),
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), _TLS_DETAIL),
    **dict.fromkeys(("connection_limit", "pool_timeout", "pool_size", "pool_max_conns", "max_overflow"), _POOL),
    **dict.fromkeys(("command_timeout", "socket_timeout", "timeout"), _drop("DATABASE_STATEMENT_TIMEOUT says this")),
    "load_balance_hosts": _drop("hosts are tried in their order, the last good one first"),
    **dict.fromkeys(("supa", "workaround", "uselibpqcompat", "async_fallback"), _CLIENT),
    **dict.fromkeys(("min_protocol_version", "max_protocol_version"), _CLIENT),
    "service": _refuse("write the service's values into the URL"),
    "hostaddr": _refuse("write the address as the host"),
    "replication": _refuse("remove it"),
    "require_auth": _refuse("remove it; the driver takes SCRAM, MD5 or a password, as the server asks"),
    "sslcrldir": _refuse("write sslcrl=FILE"),
    **dict.fromkeys(
        ("sslaccept", "sslidentity"), _refuse("write sslmode=verify-full, and sslrootcert, sslcert and sslkey")
    ),
}


# From the draft to the record.


def _finished(draft: _Draft) -> Dsn:
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
    given = [_port(port) if port else DEFAULT_PORT for port in ports.split(",")]
    if len(given) not in (1, len(names)):
        raise ValueError("has another number of ports than of hosts; give one port, or one for each host")
    for index, text in enumerate(names):
        default = given[index % len(given)]
        address = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?", text)
        if text.lower().startswith(("/", "%2f")):
            yield _decoded(text), default
        elif address is None:
            raise ValueError(
                "has a host with more than one : in it; write an IPv6 address in brackets, [::1]:5432, "
                "and %3A or %40 for a : or @ in the password"
            )
        else:
            yield _host(address[1]), _port(address[2]) if address[2] else default


def _host(text: str) -> str:
    name = _decoded(text)
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
        raise ValueError("has a host that is no host name; " + _ESCAPE.replace("holds", "it may hold"))
    return name


def _port(text: str) -> int:
    # The text is not repeated: without its host, `user:password` reads as host and port.
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise ValueError(
            "has a port that is not a number from 1 to 65535; if that is the password, the host is missing"
        )
    return int(text)


def _settle_tls(values: dict[str, Any], notes: list[str]) -> None:
    """Choose the mode that what was given asks for, and the trust store when no certificate was named."""
    for name in _TLS_FILES:
        file = values.get(name)
        if file and not (name == "sslrootcert" and file == SYSTEM_TRUST) and not Path(file).expanduser().is_file():
            raise ValueError(f"names a file in {name} that does not exist or cannot be read")
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
    if values.get("direct_tls") and values.get("sslmode") not in SSL_MODES[3:]:
        raise ValueError("has sslnegotiation=direct without TLS; add sslmode=require or stronger")


def _is_pooler(host: str, port: int) -> bool:
    """Whether this is a hosting platform's transaction pooler, by the names and ports they document."""
    return (
        re.search(r"-pooler\.([\w-]+\.)*neon\.(tech|build)$", host) is not None
        or (port == 6543 and host.endswith((".supabase.com", ".supabase.co")))
        or (port == 6432 and host.endswith(".postgres.database.azure.com"))
        or (port == 25061 and host.endswith(".ondigitalocean.com"))
    )


def _is_local(host: str) -> bool:
    return host.startswith("/") or host in ("localhost", "::1") or re.fullmatch(r"127\.[0-9.]+", host) is not None
