"""TLS with PostgreSQL: from the words of a connection string to what the driver takes."""

import ssl

from todo_service.config.database_url import SYSTEM_TRUST, Dsn


def context(dsn: Dsn) -> ssl.SSLContext | str | None:
    """What asyncpg's `ssl` argument must be; made once, for reading a trust store takes tens of milliseconds.

    Raises `ValueError` with one sentence when a certificate, key or revocation file is not what it should be.
    """
    if not dsn.needs_tls:
        return dsn.sslmode
    try:
        made = _with_files(dsn)
    except (OSError, ValueError):
        raise ValueError(
            "names a certificate, key or revocation file that is not a readable PEM file, or the sslpassword is wrong"
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if ssl.HAS_ALPN:
        made.set_alpn_protocols(["postgresql"])
    return made


def _with_files(dsn: Dsn) -> ssl.SSLContext:
    if dsn.sslrootcert == SYSTEM_TRUST:
        made = ssl.create_default_context()
    else:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = dsn.sslmode == "verify-full"
        if dsn.sslrootcert:
            made.load_verify_locations(cafile=dsn.sslrootcert)
        else:
            made.verify_mode = ssl.CERT_NONE
    if dsn.sslcrl:
        made.load_verify_locations(cafile=dsn.sslcrl)
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if dsn.sslcert:
        made.load_cert_chain(dsn.sslcert, dsn.sslkey, password=dsn.sslpassword or "")
    return made
