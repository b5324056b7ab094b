"""What an error of the driver or the network means: whether time may heal it, and in which words to tell it."""

import ssl
from socket import gaierror

import asyncpg

FAILOVER_STATES = {"25006", "57P01"}
UNAVAILABLE_STATES = {"57014", "55P03", "25006", "25P03", "25P04", "40001", "40P01"}
UNAVAILABLE_CLASSES = ("08", "53", "57P0", "58")


def unavailable(error: BaseException) -> bool:
    """Whether the error means that PostgreSQL is away, overloaded or changing roles, so that trying again may help.

    A mistake of ours, wrong arguments for instance, is none of these though asyncpg calls it `InterfaceError` too.
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


def unfit(error: BaseException) -> bool:
    """Whether the database has not the tables of this release, or does not let our role use them."""
    return isinstance(
        error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError | asyncpg.InsufficientPrivilegeError
    )


def told(error: BaseException) -> str:
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
        case gaierror():
            return "The host in DATABASE_URL has no address (DNS)."
        case ConnectionRefusedError():
            return "Nothing listens at the host and port in DATABASE_URL."
        case asyncpg.TargetServerAttributeNotMatched():
            return "None of the hosts in DATABASE_URL is what its target_session_attrs asks for; is there no primary?"
        case ConnectionError() if "rejected SSL" in str(error):
            return "The server does not offer TLS, but the sslmode in DATABASE_URL asks for it."
        case OSError():
            return f"The connection failed: {error.strerror or str(error) or type(error).__name__}."
        case _:
            return f"The connection failed: {type(error).__name__}: {error}."
