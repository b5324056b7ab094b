"""TLS with PostgreSQL: the driver's `ssl` argument for a connection string."""

import ssl

from todo_service.config.database_url import SYSTEM_TRUST, Dsn


def context(dsn: Dsn) -> ssl.SSLContext | str | None:
    """Return asyncpg's `ssl` argument. Make it once: reading a trust store takes tens of milliseconds.

    Raises:
        ValueError: A certificate, key or revocation file cannot be used; the text is one sentence.
    """
    if not dsn.needs_tls:
        return dsn.sslmode
    try:
        tls = _with_files(dsn)
    except (OSError, ValueError):
        raise ValueError(
            "names a certificate, key or revocation file that is not a readable PEM file, or the sslpassword is wrong"
        ) from None
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if ssl.HAS_ALPN:
        tls.set_alpn_protocols(["postgresql"])
    return tls


def _with_files(dsn: Dsn) -> ssl.SSLContext:
    if dsn.sslrootcert == SYSTEM_TRUST:
        tls = ssl.create_default_context()
    else:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = dsn.sslmode == "verify-full"
        if dsn.sslrootcert:
            tls.load_verify_locations(cafile=dsn.sslrootcert)
        else:
            tls.verify_mode = ssl.CERT_NONE
    if dsn.sslcrl:
        tls.load_verify_locations(cafile=dsn.sslcrl)
        tls.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if dsn.sslcert:
        tls.load_cert_chain(dsn.sslcert, dsn.sslkey, password=dsn.sslpassword or "")
    return tls
