"""Failures of the driver or the network: which become 503, and their description for the operator."""

import ssl
from socket import gaierror

import asyncpg

FAILOVER_STATES = {"25006", "57P01"}
UNAVAILABLE_STATES = {"57014", "55P03", "25006", "25P03", "25P04", "40001", "40P01"}
UNAVAILABLE_CLASSES = ("08", "53", "57P0", "58")


def is_unavailable(error: BaseException) -> bool:
    """Return whether PostgreSQL is down, overloaded or changing roles, so that trying again may help.

    A mistake of ours, such as wrong arguments, is none of these, though asyncpg calls it `InterfaceError` too.
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return (
            state in UNAVAILABLE_STATES
            or state.startswith(UNAVAILABLE_CLASSES)
            or isinstance(error, asyncpg.InvalidCachedStatementError)
        )
    if type(error) is asyncpg.InterfaceError:
        return any(words in str(error) for words in (" is closed", " is closing", "was closed", "not initialized"))
    if isinstance(error, asyncpg.InternalClientError):
        return True
    # Plain OSError is what asyncio raises for several addresses; its other children are files, not networks.
    return isinstance(error, TimeoutError | ConnectionError | gaierror | ssl.SSLError) or type(error) is OSError


def is_schema_mismatch(error: BaseException) -> bool:
    """Return whether the database lacks the tables of this release, or does not let our role use them."""
    return isinstance(
        error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError | asyncpg.InsufficientPrivilegeError
    )


def describe(error: BaseException) -> str:
    """Return one sentence for the operator, in PostgreSQL's own words where it answered."""
    match error:
        case asyncpg.InvalidPasswordError():
            return "PostgreSQL refused the password in DATABASE_URL."
        case asyncpg.PostgresError():
            return f"PostgreSQL answered: {error.args[0] if error.args else type(error).__name__}."
        case TimeoutError():
            return "PostgreSQL did not answer in time; is the host right, and no firewall between?"
        case ssl.SSLCertVerificationError():
            return f"The server's certificate is not trusted: {error.verify_message}; see sslrootcert in DATABASE_URL."
        case ssl.SSLError():
            return f"TLS with the server failed: {error.reason}."
        case gaierror():
            return "The host in DATABASE_URL has no address (DNS)."
        case ConnectionRefusedError():
            return "Nothing listens at the host and port in DATABASE_URL."
        case asyncpg.TargetServerAttributeNotMatched():
            return "No host in DATABASE_URL matches its target_session_attrs; is there no primary?"
        case ConnectionError() if "rejected SSL" in str(error):
            return "The server does not offer TLS, but the sslmode in DATABASE_URL asks for it."
        case OSError():
            return f"The connection failed: {error.strerror or str(error) or type(error).__name__}."
        case _:
            return f"The connection failed: {type(error).__name__}: {error}."
