"""Opening one connection: which host, with which TLS, directly or through a pooler, and in what words it failed.

`Connector` is what the pool of `database.py` calls for each new connection. It holds what is learned while serving:
the last good host, that the other end is a transaction pooler, which trouble was already logged.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import asyncpg
import structlog

from todo_service.dsn import SSL_MODES, SYSTEM_TRUST, Dsn

HOST_SECONDS = 1.0
READ_WRITE_HINT = "none of the hosts is what target_session_attrs asks for (no one accepts writes?)"
SELECT_PLAN_MODE = "SELECT current_setting('plan_cache_mode', true)"

log = structlog.get_logger()


class CannotConnectError(ConnectionError):
    """No host let us in. The text says why, for the operator's log; it holds no password."""


class Connector:
    """Opens connections to the hosts of `dsn`, called by the pool once for each.

    `server_settings` are ours for every session; those of the URL win over them. Through a pooler only the URL's own
    and those that PgBouncer tracks are sent. `command_timeout` is seconds, None for no limit. `on_query` gets
    asyncpg's `LoggedQuery` after each statement, in the context of the task that ran it.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        server_settings: Mapping[str, str],
        command_timeout: float | None,
        on_query: Callable[[Any], None] | None = None,
    ) -> None:
        self.pooled = dsn.pooled
        self._dsn = dsn
        self._server_settings = {**server_settings, **dsn.server_settings}
        self._command_timeout = command_timeout
        self._on_query = on_query
        self._tls = tls(dsn)
        self._hosts: tuple[tuple[str | None, int | None], ...] = dsn.hosts or ((None, None),)
        self._first = 0
        self._checked = False
        self._reported: set[str] = set()

    async def __call__(self, *_: object, **__: object) -> Any:
        """Open a connection to the first host that answers and fits; raise `CannotConnectError` when none does.

        Takes and drops asyncpg's own arguments. A host that used up the caller's patience is tried last next time.
        """
        failures: list[BaseException] = []
        for attrs, index in list(self._candidates()):
            started = asyncio.get_running_loop().time()
            try:
                connection = await self._open(index, attrs)
            except asyncio.CancelledError:
                self._first = (index + 1) % len(self._hosts)
                if asyncio.get_running_loop().time() - started > HOST_SECONDS / 2:
                    self._report(_told(TimeoutError()))
                raise
            except Exception as error:
                failures.append(error)
            else:
                self._first = index
                self._recovered(index)
                if self._on_query is not None:
                    connection.add_query_logger(self._on_query)
                return connection
        worst = next((error for error in failures if isinstance(error, asyncpg.PostgresError)), failures[-1])
        self._report(reason := _told(worst))
        raise CannotConnectError(reason) from worst

    def _candidates(self) -> Iterator[tuple[str, int]]:
        wanted = self._dsn.target_session_attrs
        for attrs in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
            for step in range(len(self._hosts)):
                yield attrs, (self._first + step) % len(self._hosts)

    async def _open(self, index: int, attrs: str) -> Any:
        if not self.pooled:
            try:
                connection = await self._connect(index, attrs)
                if self._checked or await self._keeps_settings(connection):
                    self._checked = True
                    return connection
            except asyncpg.PostgresError as error:
                if error.sqlstate != "08P01" or "startup parameter" not in str(error):
                    raise
            self._found_pooler()
        return await self._connect(index, attrs)

    def _found_pooler(self) -> None:
        if not self.pooled:
            self.pooled = True
            log.warning(
                "database pooler found",
                detail="The database is behind a transaction pooler: statements are not kept prepared and the "
                "service's session settings are not sent. Add pgbouncer=true to DATABASE_URL to say so.",
            )

    async def _keeps_settings(self, connection: Any) -> bool:
        """Whether the session got what was sent; a pooler that drops it also breaks prepared statements."""
        try:
            mode = await connection.fetchval(SELECT_PLAN_MODE, timeout=HOST_SECONDS)
        except asyncpg.InvalidSQLStatementNameError:
            mode = "prepared on another connection"
        except BaseException:
            connection.terminate()
            raise
        if mode is None or mode == self._server_settings.get("plan_cache_mode", mode):
            return True
        connection.terminate()
        return False

    async def _connect(self, index: int, attrs: str) -> Any:
        host, port = self._hosts[index]
        dsn, sent = self._dsn, dict(self._server_settings)
        if self.pooled:
            tracked = {"application_name", "timezone", *dsn.server_settings}
            sent = {name: value for name, value in sent.items() if name in tracked}
        extra: dict[str, Any] = {"statement_cache_size": 0} if self.pooled else {}
        return await asyncpg.connect(
            host=host,
            port=port,
            user=dsn.user,
            password=dsn.password,
            passfile=dsn.passfile,
            database=dsn.database,
            ssl=self._tls,
            direct_tls=dsn.direct_tls,
            target_session_attrs=attrs,
            server_settings=sent,
            timeout=dsn.connect_timeout or HOST_SECONDS,
            command_timeout=self._command_timeout,
            **extra,
        )

    def _report(self, reason: str) -> None:
        """Log each trouble once until a connection is had again: the pool retries with every request."""
        if reason not in self._reported:
            self._reported.add(reason)
            log.error("database unreachable", reason=reason)

    def _recovered(self, index: int) -> None:
        if self._reported:
            self._reported.clear()
            log.info("database reachable again", host=self._hosts[index][0])


def tls(dsn: Dsn) -> ssl.SSLContext | str | None:
    """What asyncpg's `ssl` argument must be; made once, for reading a trust store takes tens of milliseconds.

    Raises `ValueError` with one sentence when a certificate or key file is not what it should be.
    """
    if dsn.sslmode not in SSL_MODES[3:]:
        return dsn.sslmode
    try:
        if dsn.sslrootcert == SYSTEM_TRUST:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = dsn.sslmode == "verify-full"
            if dsn.sslrootcert:
                context.load_verify_locations(cafile=dsn.sslrootcert)
            else:
                context.verify_mode = ssl.CERT_NONE
        if dsn.sslcrl:
            context.load_verify_locations(cafile=dsn.sslcrl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if dsn.sslcert:
            context.load_cert_chain(dsn.sslcert, dsn.sslkey, password=dsn.sslpassword or "")
    except (OSError, ValueError):
        raise ValueError("names a certificate, key or revocation file that is not a readable PEM file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ssl.HAS_ALPN:
        context.set_alpn_protocols(["postgresql"])
    return context


def _told(error: BaseException) -> str:
    """One sentence for the operator: what went wrong, in PostgreSQL's own words where it spoke."""
    match error:
        case asyncpg.InvalidPasswordError():
            return "PostgreSQL refused the password in DATABASE_URL."
        case asyncpg.PostgresError():
            return f"PostgreSQL said: {error.args[0] if error.args else type(error).__name__}."
        case TimeoutError():
            return "PostgreSQL did not answer in time; is the host right, and no firewall between?"
        case ssl.SSLCertVerificationError():
            return f"The server's certificate is not trusted: {error.verify_message}; see sslrootcert in DATABASE_URL."
        case ssl.SSLError():
            return f"TLS with the server failed: {error.reason}."
        case socket.gaierror():
            return "The host in DATABASE_URL has no address (DNS)."
        case ConnectionRefusedError():
            return "Nothing listens at the host and port in DATABASE_URL."
        case asyncpg.TargetServerAttributeNotMatched():
            return f"The database cannot be used: {READ_WRITE_HINT}."
        case ConnectionError() if "rejected SSL" in str(error):
            return "The server does not offer TLS, but the sslmode in DATABASE_URL asks for it."
        case OSError():
            return f"The connection failed: {error.strerror or str(error) or type(error).__name__}."
        case _:
            return f"The connection failed: {type(error).__name__}: {error}."
