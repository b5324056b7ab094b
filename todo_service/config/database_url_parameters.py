"""The parameters of a connection string, `?name=value&…`: one table with the treatment of each.

It has the parameters of libpq that change a connection, and those in the copy buttons of hosting platforms.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_MODES = SSL_MODES[3:]
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
TLS_FILES = ("sslrootcert", "sslcrl", "sslcert", "sslkey")
ESCAPE = (
    "holds a character that must be percent-encoded, most likely in the password: "
    "write %40 for @, %2F for /, %3F for ?, %23 for #, %25 for % and %20 for a space"
)


@dataclass(slots=True)
class Draft:
    """The parts parsed so far: `values` are fields of the `Dsn` under their names."""

    values: dict[str, Any] = field(default_factory=dict)
    server_settings: dict[str, str] = field(default_factory=dict)
    hosts: str = ""
    ports: str = ""
    notes: list[str] = field(default_factory=list)


def read(query: str, draft: Draft) -> None:
    """Parse a URL's query into the draft. Raises `ValueError` with one sentence."""
    for name, value in _parameters(query):
        _PARAMETERS[name](draft, name, value)


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Yield each parameter once, `host` and `port` given several times as one list."""
    parameters: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        raw_name, equals, raw_value = part.partition("=")
        name, value = decoded(raw_name), decoded(raw_value)
        if not equals:
            raise ValueError("has a parameter without a value; write each as name=value, with %26 for an & inside one")
        if name not in _PARAMETERS:
            raise ValueError(_unknown(name, has_secret="password=" in query))
        if name in ("host", "port") and name in parameters:
            value = f"{parameters[name]},{value}"
        elif parameters.get(name, value) != value:
            raise ValueError(f"gives {name} twice with different values; keep one")
        parameters[name] = value
    yield from parameters.items()


def _unknown(name: str, *, has_secret: bool) -> str:
    # An unescaped & in a password given as a parameter makes its rest look like the next parameter's name.
    if has_secret or not re.fullmatch(r"[A-Za-z_]{2,40}", name):
        return "has an unknown parameter; a value that holds & or = must be percent-encoded (%26, %3D)"
    close = get_close_matches(name.lower(), _PARAMETERS, n=1, cutoff=0.8)
    return f"has an unknown parameter {name}; " + (f"did you mean {close[0]}?" if close else "remove it")


def decoded(text: str) -> str:
    """Decode the percent-encoding of a part of the URL."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(ESCAPE)
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise ValueError("does not decode to UTF-8; percent-encode the UTF-8 bytes of each special character") from None
    if "\0" in decoded:
        raise ValueError("holds %00, which no PostgreSQL name or password may")
    return decoded


# The treatments.


def _keep(draft: Draft, name: str, value: str) -> None:
    draft.values[name] = value or None


def _rename(field_name: str) -> Callable[[Draft, str, str], None]:
    return lambda draft, _, value: _keep(draft, field_name, value)


def _drop(reason: str) -> Callable[[Draft, str, str], None]:
    return lambda draft, name, _: draft.notes.append(f"The URL's {name} is left out: {reason}.")


def _refuse(instead: str) -> Callable[[Draft, str, str], None]:
    def refuse(_: Draft, name: str, __: str) -> None:
        raise ValueError(f"has the parameter {name}, which is not supported; {instead}")

    return refuse


def _server_setting(draft: Draft, name: str, value: str) -> None:
    draft.server_settings[name] = value


def _sslmode(draft: Draft, name: str, value: str) -> None:
    if value == "no-verify":
        value = "require"
    if value not in SSL_MODES:
        raise ValueError(f"has an unknown {name}; write sslmode= and one of {', '.join(SSL_MODES)}")
    draft.values["sslmode"] = value


def _ssl(draft: Draft, name: str, value: str) -> None:
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


def _requiressl(draft: Draft, name: str, value: str) -> None:
    _ssl(draft, name, "require" if value == "1" else "prefer")


def _sslnegotiation(draft: Draft, name: str, value: str) -> None:
    if value not in ("postgres", "direct"):
        raise ValueError(f"has an unknown {name}; write postgres or direct")
    draft.values["direct_tls"] = value == "direct"


def _target(draft: Draft, name: str, value: str) -> None:
    if value not in SESSION_ATTRS:
        raise ValueError(f"has an unknown {name}; write one of {', '.join(SESSION_ATTRS)}")
    if value in ("read-only", "standby", "prefer-standby"):
        draft.notes.append(f"With {name}={value} writes fail: the service needs a server that accepts them.")
    draft.values[name] = value


def _connect_timeout(draft: Draft, name: str, value: str) -> None:
    if not re.fullmatch(r"-?[0-9]{1,6}", value):
        raise ValueError(f"has a {name} that is not a whole number of seconds")
    if int(value) > 0:
        draft.values[name] = float(value)
    else:
        draft.notes.append(f"The URL's {name} is left out: waiting without end is not possible here.")


def _switch(draft: Draft, name: str, value: str) -> None:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"has a {name} that is neither true nor false")
    draft.values["pooled"] = value.lower() in ("true", "1") or draft.values.get("pooled", False)


def _prepared(draft: Draft, name: str, value: str) -> None:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"has a {name} that is neither true nor false")
    draft.values["prepared"] = value.lower() in ("true", "1")


def _statement_cache(draft: Draft, name: str, value: str) -> None:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise ValueError(f"has a {name} that is not a whole number of statements")
    if int(value) == 0:
        draft.values |= {"pooled": True, "prepared": False}
    else:
        draft.values["statement_cache_size"] = int(value)


def _schema(draft: Draft, name: str, value: str) -> None:
    if value == "public":
        _drop("public is where tables are anyway")(draft, name, value)
    else:
        draft.server_settings["search_path"] = '"' + value.replace('"', '""') + '"'


def _client_encoding(draft: Draft, name: str, value: str) -> None:
    if value.lower().replace("-", "") not in ("utf8", "auto", "unicode"):
        raise ValueError(f"has a {name} other than utf8; remove it")


def _options(draft: Draft, _: str, value: str) -> None:
    """Parse `-c name=value`, `-cname=value` and `--name=value`; Neon's `endpoint=` is sent by TLS (SNI)."""
    words = re.sub(r"(^|[+ ])-c[+ ]*", r"\1--", value)
    for word in re.findall(r"(?:\\.|[^\s\\])+", re.sub(r"\+(?=--)", " ", words)):
        setting = re.fullmatch(r"--([A-Za-z_][\w.-]*)=(.*)", re.sub(r"\\(.)", r"\1", word))
        if setting:
            draft.server_settings[setting[1].lower().replace("-", "_")] = setting[2]
        elif re.match(r"(endpoint|project)=", word):
            draft.notes.append("The URL's options=endpoint is left out: TLS names the server (SNI).")
        else:
            raise ValueError("has options other than -c name=value; write options=-c%20name%3Dvalue")


_POOL = _drop("DATABASE_POOL_MAX and DATABASE_ACQUIRE_TIMEOUT set this")
_KEEPALIVE = _drop("idle connections are checked and renewed every DATABASE_POOL_RECYCLE seconds")
_TLS_DETAIL = _drop("the service's own TLS rules hold (1.2 or newer, SNI, no compression)")
_CLIENT = _drop("another client's setting")

_PARAMETERS: dict[str, Callable[[Draft, str, str], None]] = {
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
    **dict.fromkeys((*TLS_FILES, "sslpassword"), _keep),
    "sslnegotiation": _sslnegotiation,
    "target_session_attrs": _target,
    "connect_timeout": _connect_timeout,
    "options": _options,
    "schema": _schema,
    "client_encoding": _client_encoding,
    "application_name": _server_setting,
    **dict.fromkeys(("search_path", "statement_timeout", "lock_timeout", "work_mem", "role"), _server_setting),
    "idle_in_transaction_session_timeout": _server_setting,
    **dict.fromkeys(("timezone", "TimeZone"), _drop("the service works in UTC")),
    "pgbouncer": _switch,
    "prepared_statements": _prepared,
    **dict.fromkeys(("statement_cache_size", "prepared_statement_cache_size"), _statement_cache),
    "prepareThreshold": _CLIENT,
    "channel_binding": _drop("the driver cannot do it; sslmode=verify-full gives the same safety"),
    **dict.fromkeys(("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"), _KEEPALIVE),
    "tcp_user_timeout": _KEEPALIVE,
    "gssencmode": _drop("Kerberos encryption is not used"),
    **dict.fromkeys(("sslcompression", "sslsni"), _TLS_DETAIL),
    **dict.fromkeys(("connection_limit", "pool_timeout"), _POOL),
    "load_balance_hosts": _drop("hosts are tried in their order, the last good one first"),
    **dict.fromkeys(("supa", "workaround", "uselibpqcompat"), _CLIENT),
    "service": _refuse("write the service's values into the URL"),
    "hostaddr": _refuse("write the address as the host"),
}
